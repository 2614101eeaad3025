"""Set a password, with what has to end when it changes. The caller owns the transaction.

Passwords are verified and hashed before it begins. Inside, the stored hash is compared again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from billtrack.accounts.sign_in.sessions import renew_secret, revoke_other_sessions
from billtrack.accounts.users.links import end_links
from billtrack.accounts.users.models import User
from billtrack.accounts.users.operations import checked_name, normalize_email
from billtrack.accounts.users.passwords import HashedPassword, hash_password, verify_password
from billtrack.core.errors import InvalidError
from billtrack.platform import audit
from billtrack.platform.extensions import db


class WrongPassword(InvalidError):
    """What was typed is not the password of this account."""

    code = "wrong_password"


@dataclass(frozen=True, slots=True)
class VerifiedPassword:
    """An account whose password somebody knew, and the hash that it fitted."""

    user_id: int
    stored: str = field(repr=False)


def hash_first_password(password: str, *, email: str, name: str) -> HashedPassword:
    """Return the hash of a password for an account that is to be opened.

    Raises InvalidError for a bad address, name or password.
    """
    return hash_password(password, about=(normalize_email(email), checked_name(name)))


def verify_current_password(user_id: int, password: str) -> VerifiedPassword:
    """Return the proof that this is the password of the account. Raises WrongPassword."""
    stored = db.session.get_one(User, user_id).password_hash
    if not verify_password(stored, password) or stored is None:
        raise _wrong_password()
    return VerifiedPassword(user_id, stored)


def lock_verified(verified: VerifiedPassword) -> User:
    """Lock the account and return it. Raises WrongPassword if its password has changed since."""
    user = db.session.get_one(User, verified.user_id, with_for_update=True)
    if user.password_hash != verified.stored:
        raise _wrong_password()
    return user


def set_password(
    user_id: int,
    *,
    password: HashedPassword,
    keep_session_id: int | None,
    actor: audit.Actor,
    now: datetime,
) -> None:
    """Store the password; every session but `keep_session_id` and every unused link ends."""
    user = db.session.get_one(User, user_id, with_for_update=True)
    user.password_hash = password.text
    audit.record(
        "user.password_changed", actor=actor, now=now, object_type="user", object_id=user.id
    )
    end_links(user.id, now=now)
    revoke_other_sessions(user.id, keep=keep_session_id, actor=actor, now=now)


def change_password(
    verified: VerifiedPassword,
    *,
    session_id: int | None,
    password: HashedPassword,
    actor: audit.Actor,
    now: datetime,
) -> str:
    """Set another password and return a new secret id for this session.

    Every other session ends, and the secret that this one had is worthless: whoever knew the
    old password or held a cookie is out. Raises WrongPassword.
    """
    # Two changes at once: the second waits here and then meets the password of the first.
    user = lock_verified(verified)
    set_password(user.id, password=password, keep_session_id=session_id, actor=actor, now=now)
    return renew_secret(session_id)


def _wrong_password() -> WrongPassword:
    return WrongPassword.at("current_password", "This is not your current password.")
