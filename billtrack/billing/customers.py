"""Open accounts and change what they are. The caller owns the transaction."""

from __future__ import annotations

from datetime import datetime

from billtrack.accounts import lifecycle
from billtrack.accounts.sign_in.password_recovery import invite
from billtrack.accounts.users.models import User
from billtrack.accounts.users.operations import create_user
from billtrack.accounts.users.passwords import HashedPassword
from billtrack.accounts.users.permissions import Breadth, Reach, Role
from billtrack.billing.plans import standard
from billtrack.billing.plans.operations import subscribe
from billtrack.billing.plans.queries import list_subscriptions
from billtrack.core.periods import BillingCalendar, Month
from billtrack.platform import audit


def open_account(
    *,
    actor: audit.Actor,
    now: datetime,
    calendar: BillingCalendar,
    email: str,
    name: str,
    role: Role,
    password: HashedPassword | None = None,
) -> User:
    """Create the account; a customer starts on the standard plan from the 1st of the month.

    Raises what create_user raises.
    """
    user = create_user(actor=actor, now=now, email=email, name=name, role=role, password=password)
    if role is Role.CUSTOMER:
        _subscribe_to_standard(user, actor, now, calendar)
    return user


def invite_account(
    *,
    actor: audit.Actor,
    now: datetime,
    calendar: BillingCalendar,
    email: str,
    name: str,
    role: Role,
) -> User:
    """Open the account and send it a link to choose its password. Raises what both raise."""
    user = open_account(actor=actor, now=now, calendar=calendar, email=email, name=name, role=role)
    invite(user.id, actor=actor, reach=Reach(Breadth.OWN, user.id), now=now)
    return user


def change_role(
    user_id: int,
    *,
    role: Role,
    actor: audit.Actor,
    reach: Reach,
    now: datetime,
    calendar: BillingCalendar,
) -> User:
    """Give the account another role; who becomes a customer and never was is subscribed.

    A subscription of who is no customer any more stays: its usage still has to be priced.
    Raises what lifecycle.change_role raises.
    """
    user = lifecycle.change_role(user_id, role=role, actor=actor, reach=reach, now=now)
    if role is Role.CUSTOMER and not list_subscriptions(user.id):
        _subscribe_to_standard(user, actor, now, calendar)
    return user


def _subscribe_to_standard(
    user: User, actor: audit.Actor, now: datetime, calendar: BillingCalendar
) -> None:
    subscribe(
        user.id,
        actor=actor,
        now=now,
        plan_code=standard.CODE,
        starts_on=Month.of(calendar.today(now)).first,
    )
