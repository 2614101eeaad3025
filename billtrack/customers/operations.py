"""Open accounts. The caller owns the transaction."""

from __future__ import annotations

from datetime import datetime

from billtrack import audit
from billtrack.accounts.models import User
from billtrack.accounts.operations import create_user
from billtrack.accounts.permissions import Role
from billtrack.core.periods import BillingCalendar, Month
from billtrack.plans import standard
from billtrack.plans.operations import subscribe


def open_account(
    *,
    actor: audit.Actor,
    now: datetime,
    calendar: BillingCalendar,
    email: str,
    name: str,
    role: Role,
    password: str | None = None,
) -> User:
    """Create the account; a customer starts on the standard plan from the 1st of the month.

    Raises what create_user raises.
    """
    user = create_user(actor=actor, now=now, email=email, name=name, role=role, password=password)
    if role is Role.CUSTOMER:
        subscribe(
            user.id,
            actor=actor,
            now=now,
            plan_code=standard.CODE,
            starts_on=Month.of(calendar.today(now)).first,
        )
    return user
