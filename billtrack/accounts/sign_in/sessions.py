"""Browser sessions: rows of our own, so that they can be listed and revoked."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, select, update

from billtrack.accounts.credentials.tokens import revoke_families
from billtrack.accounts.sign_in.pending_sign_ins import end_pending_sign_ins
from billtrack.accounts.users.models import User, UserSession
from billtrack.core.errors import NotFoundError
from billtrack.platform import audit
from billtrack.platform.db import row_count
from billtrack.platform.extensions import db

LIFETIME = timedelta(days=14)
IDLE_LIMIT = timedelta(hours=12)
SEEN_INTERVAL = timedelta(minutes=1)


class SessionNotFound(NotFoundError):
    """There is no such session of this account."""

    code = "session_not_found"


def start_session(
    user: User,
    *,
    now: datetime,
    address: str | None,
    user_agent: str | None,
    second_factor: str | None = None,
) -> str:
    """Return the secret id of a new session of the account, which has proven who it is.

    `second_factor` says by what besides the password.
    """
    token = secrets.token_urlsafe(32)
    session = UserSession(
        token_hash=_hash(token),
        user_id=user.id,
        created_at=now,
        seen_at=now,
        expires_at=now + LIFETIME,
        address=address,
        user_agent=(user_agent or "")[:200] or None,
    )
    db.session.add(session)
    audit.record(
        "session.started",
        actor=audit.Actor(user_id=user.id, address=address),
        now=now,
        object_type="user",
        object_id=user.id,
        changes={"second_factor": second_factor} if second_factor else None,
    )
    return token


def find_session(token: str, *, now: datetime) -> tuple[UserSession, User] | None:
    """Return the live session and its active account, or None."""
    query = (
        select(UserSession, User)
        .join(User, User.id == UserSession.user_id)
        .where(
            UserSession.token_hash == _hash(token),
            _is_live(now),
            User.deactivated_at.is_(None),
        )
    )
    row = db.session.execute(query).one_or_none()
    return (row[0], row[1]) if row else None


def list_sessions(user_id: int, *, now: datetime) -> Sequence[UserSession]:
    """Return the live sessions of the account, the one seen last first."""
    query = select(UserSession).where(UserSession.user_id == user_id, _is_live(now))
    return db.session.scalars(query.order_by(UserSession.seen_at.desc(), UserSession.id)).all()


def mark_seen(session_id: int, *, now: datetime) -> None:
    """Note that the session is in use."""
    db.session.execute(update(UserSession).where(UserSession.id == session_id).values(seen_at=now))


def revoke_session(session_id: int, *, actor: audit.Actor, now: datetime) -> None:
    """End the session at once; doing it again changes nothing."""
    ended = db.session.execute(
        update(UserSession)
        .where(UserSession.id == session_id, UserSession.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    if row_count(ended):
        audit.record(
            "session.ended", actor=actor, now=now, object_type="session", object_id=session_id
        )


def revoke_own_session(session_id: int, *, user_id: int, actor: audit.Actor, now: datetime) -> None:
    """End a session of this account at once; again changes nothing. Raises SessionNotFound."""
    session = db.session.get(UserSession, session_id)
    if session is None or session.user_id != user_id:
        raise SessionNotFound(f"There is no session {session_id} of yours.")
    revoke_session(session_id, actor=actor, now=now)


def revoke_other_sessions(
    user_id: int, *, keep: int | None, actor: audit.Actor, now: datetime
) -> int:
    """End every live session of the account but `keep`, and sign its programs out.

    Half sign-ins end, too. Return how many that were, programs included.
    """
    end_pending_sign_ins(user_id)
    others = [session.id for session in list_sessions(user_id, now=now) if session.id != keep]
    for session_id in others:
        revoke_session(session_id, actor=actor, now=now)
    return len(others) + revoke_families(user_id, actor=actor, now=now)


def renew_secret(session_id: int | None) -> str:
    """Return a new secret id for the session; whoever knew the one before is out."""
    token = secrets.token_urlsafe(32)
    db.session.execute(
        update(UserSession).where(UserSession.id == session_id).values(token_hash=_hash(token))
    )
    return token


def _is_live(now: datetime) -> ColumnElement[bool]:
    return and_(
        UserSession.revoked_at.is_(None),
        UserSession.expires_at > now,
        UserSession.seen_at > now - IDLE_LIMIT,
    )


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
