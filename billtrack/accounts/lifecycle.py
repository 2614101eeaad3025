"""Account lifecycle: deactivate, reactivate, change the role. The caller owns the transaction.

Stands above sessions and API keys, which end with the account that they belong to.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from billtrack.accounts.credentials.api_keys import revoke_api_key
from billtrack.accounts.sign_in.sessions import revoke_other_sessions
from billtrack.accounts.users.authority import (
    lock_user,
    require_manageable,
    require_name_change,
    require_role_change,
    require_sign_in_change,
)
from billtrack.accounts.users.links import end_links
from billtrack.accounts.users.models import ApiKey, User
from billtrack.accounts.users.operations import (
    lock_removable_user,
    require_another_administrator,
    require_unerased,
)
from billtrack.accounts.users.permissions import Breadth, Reach, Role
from billtrack.platform import audit
from billtrack.platform.extensions import db


def deactivate_user(user_id: int, *, actor: audit.Actor, reach: Reach, now: datetime) -> User:
    """Shut the account out; its usage and bills stay. Doing it again changes nothing.

    Raises UserNotFound, ForbiddenError and LastAdministrator.
    """
    user = lock_removable_user(user_id, reach=reach, rule=require_sign_in_change)
    if not user.is_active:
        return user
    require_another_administrator(user)
    user.deactivated_at = now
    audit.record(
        "user.deactivated",
        actor=actor,
        now=now,
        object_type="user",
        object_id=user.id,
        changes={"active": audit.Change(before=True, after=False)},
    )
    _shut_out(user, actor, now)
    return user


def reactivate_user(user_id: int, *, actor: audit.Actor, reach: Reach, now: datetime) -> User:
    """Let the account in again, by its password and its API keys; again changes nothing.

    Raises UserNotFound, ForbiddenError and AccountErased.
    """
    user = lock_user(user_id, reach=reach, rule=require_sign_in_change)
    require_unerased(user)
    if not user.is_active:
        user.deactivated_at = None
        audit.record(
            "user.reactivated",
            actor=actor,
            now=now,
            object_type="user",
            object_id=user.id,
            changes={"active": audit.Change(before=False, after=True)},
        )
    return user


def change_role(
    user_id: int, *, role: Role, actor: audit.Actor, reach: Reach, now: datetime
) -> User:
    """Give the account another role; its sessions end and its API keys are revoked.

    Whoever holds one of these would otherwise see what was never meant for them. Raises
    UserNotFound, ForbiddenError, LastAdministrator and AccountErased.
    """
    user = lock_removable_user(user_id, reach=reach, rule=require_name_change)
    require_unerased(user)
    before = Role(user.role)
    if role is before:
        return user
    require_role_change(user, reach)
    for one in (before, role):
        require_manageable(one, reach=reach)
    require_another_administrator(user)
    user.role = role
    audit.record(
        "user.role_changed",
        actor=actor,
        now=now,
        object_type="user",
        object_id=user.id,
        changes={"role": audit.Change(before=before, after=role)},
    )
    _shut_out(user, actor, now)
    _revoke_keys(user, actor, now)
    return user


def _shut_out(user: User, actor: audit.Actor, now: datetime) -> None:
    """End the sessions and links of the account."""
    revoke_other_sessions(user.id, keep=None, actor=actor, now=now)
    end_links(user.id, now=now)


def _revoke_keys(user: User, actor: audit.Actor, now: datetime) -> None:
    live = select(ApiKey.id).where(ApiKey.user_id == user.id, ApiKey.revoked_at.is_(None))
    for key_id in db.session.scalars(live).all():
        revoke_api_key(key_id, actor=actor, reach=Reach(Breadth.OWN, user.id), now=now)
