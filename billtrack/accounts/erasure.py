"""Put neutral markers in place of what the tables of this room say about a person.

Only what has to do with the account itself; `billtrack.privacy.erasure` has the whole. The
caller owns the transaction, and every function may run again: what is gone stays gone.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import String, cast, delete, func, or_, select, update

from billtrack.accounts.sign_in import throttle
from billtrack.accounts.sign_in.password_recovery import PASSWORD_REQUEST
from billtrack.accounts.sign_in.second_factor import forget_second_factor
from billtrack.accounts.users.models import (
    ApiKey,
    OneTimeLink,
    RefreshToken,
    TokenFamily,
    User,
    UserSession,
)
from billtrack.accounts.users.permissions import Role
from billtrack.platform.audit.models import AuditPersonalValue
from billtrack.platform.extensions import db
from billtrack.platform.idempotency import CommandKey
from billtrack.platform.jobs.models import Job

DOMAIN = "erased.invalid"
"""No mail goes to addresses below .invalid, and nobody can open an account with one."""

KEY_NAME = "erased"
_ROLES = {Role.ADMIN: "administrator"}


def marker_name(user: User) -> str:
    """Return what an account is called once it is erased: "Erased customer 17"."""
    role = Role(user.role)
    return f"Erased {_ROLES.get(role, role)} {user.id}"


def marker_email(user_id: int) -> str:
    """Return the address of an account that is erased; no two have the same."""
    return f"erased-{user_id}@{DOMAIN}"


def known_emails(user: User) -> set[str]:
    """Return the address of the account, and those it had before as far as the log knows."""
    values = select(AuditPersonalValue.before, AuditPersonalValue.value).where(
        AuditPersonalValue.user_id == user.id, AuditPersonalValue.field == "email"
    )
    known = {address for row in db.session.execute(values) for address in row if address}
    return {user.email, *known}


def put_markers(user: User, *, now: datetime) -> None:
    """Take name, address and password from the account, and shut it out for ever."""
    user.name, user.email = marker_name(user), marker_email(user.id)
    user.password_hash = None
    user.deactivated_at = user.deactivated_at or now
    user.erased_at = now
    db.session.flush()


def remove_ways_in(user_id: int, *, now: datetime) -> None:
    """Remove sessions, tokens, links and second factor; keys stay, and open nothing."""
    forget_second_factor(user_id)
    families = select(TokenFamily.id).where(TokenFamily.user_id == user_id)
    db.session.execute(delete(RefreshToken).where(RefreshToken.family_id.in_(families)))
    for table in (UserSession, TokenFamily, OneTimeLink):
        db.session.execute(delete(table).where(table.user_id == user_id))
    revoked_at = func.coalesce(ApiKey.revoked_at, now)
    db.session.execute(
        update(ApiKey).where(ApiKey.user_id == user_id).values(name=KEY_NAME, revoked_at=revoked_at)
    )


def forget_tries(user_id: int, emails: Collection[str]) -> None:
    """Remove what was counted for the addresses, and requests for a password that wait."""
    places = select(UserSession.address).where(UserSession.user_id == user_id).distinct()
    throttle.forget(emails=emails, addresses=[None, *db.session.scalars(places)])
    asked = (Job.kind == PASSWORD_REQUEST, Job.payload["email"].as_string().in_(emails))
    db.session.execute(update(Job).where(*asked).values(payload={}))


def mask_answers(user: User, emails: Collection[str]) -> None:
    """Put the markers into kept answers to requests that were about the account."""
    body = CommandKey.body
    is_about = or_(
        body["email"].as_string().in_([*emails, user.email]),
        cast(body["user_id"].as_string(), String) == str(user.id),
        CommandKey.location == f"/api/v1/users/{user.id}",
    )
    found: Sequence[CommandKey] = db.session.scalars(select(CommandKey).where(is_about)).all()
    markers = {"email": user.email, "name": user.name}
    for answer in found:
        kept = answer.body or {}
        answer.body = {**kept, **{field: markers[field] for field in markers if field in kept}}
