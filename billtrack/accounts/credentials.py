"""Set a password, with what has to end when it changes. The caller owns the transaction."""

from __future__ import annotations

from datetime import datetime

from billtrack import audit
from billtrack.accounts.links import end_links
from billtrack.accounts.models import User
from billtrack.accounts.passwords import hash_password
from billtrack.accounts.sessions import revoke_other_sessions
from billtrack.extensions import db


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
    user.password_hash = hash_password(password)
    audit.record(
        "user.password_changed", actor=actor, now=now, object_type="user", object_id=user.id
    )
    end_links(user.id, now=now)
    revoke_other_sessions(user.id, keep=keep_session_id, actor=actor, now=now)
