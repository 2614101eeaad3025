"""Whether somebody is who they say: for browsers and for programs alike."""

from __future__ import annotations

from billtrack.accounts.models import User
from billtrack.accounts.passwords import verify_password
from billtrack.accounts.queries import find_user_by_email
from billtrack.core.errors import UnauthenticatedError
from billtrack.extensions import db


class SignInRefused(UnauthenticatedError):
    """E-mail and password do not belong together; says nothing about which is wrong."""

    code = "sign_in_refused"


def authenticate(*, email: str, password: str) -> User:
    """Return the active account; raises SignInRefused, after the same work for every address."""
    user = find_user_by_email(email)
    stored = user.password_hash if user else None
    fits = verify_password(stored, password)
    if user is not None and fits:
        # Who changes the password ends what it opened. That waits for us, or we for it: else
        # something could still be opened with the password before, and nobody would end it.
        db.session.refresh(user, with_for_update={"key_share": True})
        fits = user.password_hash == stored
    if user is None or not fits or not user.is_active:
        raise SignInRefused("E-mail and password do not match an active account.")
    return user
