"""Set a password, with what has to end when it changes. The caller owns the transaction."""

from __future__ import annotations

from datetime import datetime

from billtrack import audit
from billtrack.accounts.links import end_links
from billtrack.accounts.models import User
from billtrack.accounts.passwords import hash_password, verify_password
from billtrack.accounts.sessions import renew_secret, revoke_other_sessions
from billtrack.core.errors import InvalidError
from billtrack.extensions import db


class WrongPassword(InvalidError):
    """What was typed is not the password of this account."""

    code = "wrong_password"


def set_password(
    user_id: int,
    *,
    password: str,
    keep_session_id: int | None,
    actor: audit.Actor,
    now: datetime,
) -> None:
    """Store the password; every session but `keep_session_id` and every unused link ends.

    Raises InvalidError for a password that is none.
    """
    user = db.session.get_one(User, user_id, with_for_update=True)
    user.password_hash = hash_password(password, about=(user.email, user.name))
    audit.record(
        "user.password_changed", actor=actor, now=now, object_type="user", object_id=user.id
    )
    end_links(user.id, now=now)
    revoke_other_sessions(user.id, keep=keep_session_id, actor=actor, now=now)


def change_password(
    user_id: int,
    *,
    session_id: int | None,
    current: str,
    password: str,
    actor: audit.Actor,
    now: datetime,
) -> str:
    """Set another password and return a new secret id for this session.

    Every other session ends, and the secret that this one had is worthless: whoever knew the
    old password or held a cookie is out. Raises WrongPassword, and InvalidError for a new
    password that is none.
    """
    # Two changes at once: the second waits here and then meets the password of the first.
    user = db.session.get_one(User, user_id, with_for_update=True)
    if not verify_password(user.password_hash, current):
        raise WrongPassword.at("current_password", "This is not your present password.")
    set_password(user_id, password=password, keep_session_id=session_id, actor=actor, now=now)
    return renew_secret(session_id)
