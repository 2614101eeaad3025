"""Half sign-ins: the password was right, the code of the second factor is due.

They are rows of their own, beside the sessions, and in the cookie under a name of its own:
nothing that looks for a session can find one. The caller owns the transaction.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, select

from billtrack.accounts.users.models import PendingSignIn, User
from billtrack.core.errors import UnauthenticatedError
from billtrack.platform.extensions import db

LIFETIME = timedelta(minutes=5)


class SignInExpired(UnauthenticatedError):
    """The password was right too long ago, or something of the account has changed since."""

    code = "sign_in_expired"


def begin_sign_in(user_id: int, *, now: datetime) -> str:
    """Return the secret id of a new half sign-in of this account, good for five minutes."""
    token = secrets.token_urlsafe(32)
    half = PendingSignIn(token_hash=_hash(token), user_id=user_id, expires_at=now + LIFETIME)
    db.session.add(half)
    return token


def find_pending_user(token: str, *, now: datetime) -> User | None:
    """Return the active account that has signed in by half, or None."""
    query = select(User).join(PendingSignIn, PendingSignIn.user_id == User.id)
    return db.session.scalar(query.where(_is_live(token, now), User.deactivated_at.is_(None)))


def take_pending_user(token: str, *, now: datetime) -> User:
    """Use the half sign-in up and return its account; raises SignInExpired."""
    used = delete(PendingSignIn).where(_is_live(token, now)).returning(PendingSignIn.user_id)
    user_id = db.session.scalar(used)
    if user_id is not None:
        # Who changes the password ends what it opened; that waits for us, or we for it.
        user = db.session.get_one(User, user_id, with_for_update={"key_share": True})
        if user.is_active:
            return user
    raise SignInExpired("That took too long. Sign in once more.")


def end_pending_sign_ins(user_id: int) -> None:
    """Make every half sign-in of the account worthless."""
    db.session.execute(delete(PendingSignIn).where(PendingSignIn.user_id == user_id))


def forget_expired_sign_ins(now: datetime) -> None:
    """Remove those whose time is over."""
    db.session.execute(delete(PendingSignIn).where(PendingSignIn.expires_at <= now))


def _is_live(token: str, now: datetime) -> ColumnElement[bool]:
    return and_(PendingSignIn.token_hash == _hash(token), PendingSignIn.expires_at > now)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
