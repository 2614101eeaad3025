"""Whether somebody is who they say: for browsers and for programs alike."""

from __future__ import annotations

from billtrack.accounts.sign_in.password_changes import VerifiedPassword
from billtrack.accounts.users.models import User
from billtrack.accounts.users.passwords import verify_password
from billtrack.accounts.users.queries import find_user_by_email
from billtrack.core.errors import UnauthenticatedError
from billtrack.platform.extensions import db


class SignInRefused(UnauthenticatedError):
    """E-mail and password do not belong together; says nothing about which is wrong."""

    code = "sign_in_refused"


def verify_sign_in(*, email: str, password: str) -> VerifiedPassword:
    """Return the proof that this is the password of the address, before the transaction.

    Raises SignInRefused, after the same work for every address.
    """
    user = find_user_by_email(email)
    user_id, stored = (user.id, user.password_hash) if user is not None else (None, None)
    if not verify_password(stored, password) or user_id is None or stored is None:
        raise _refused()
    return VerifiedPassword(user_id, stored)


def authenticate(verified: VerifiedPassword) -> User:
    """Return the active account whose password was verified; raises SignInRefused."""
    # A change of the password ends all sessions. Without this lock a sign-in with the old
    # password could commit after it, and its session would stay.
    user = db.session.get(User, verified.user_id, with_for_update={"key_share": True})
    if user is None or user.password_hash != verified.stored or not user.is_active:
        raise _refused()
    return user


def _refused() -> SignInRefused:
    return SignInRefused("E-mail and password do not match an active account.")
