"""Passwords: argon2id hashes, and the same work for unknown accounts as for known ones."""

from __future__ import annotations

import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from billtrack.core.errors import InvalidError

MIN_LENGTH = 12
MAX_LENGTH = 256

_hasher = PasswordHasher()


def hash_password(password: str) -> str:
    """Return the argon2id hash; raises InvalidError outside 12 to 256 characters."""
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidError.at("password", f"Use {MIN_LENGTH} to {MAX_LENGTH} characters.")
    return _hasher.hash(password)


def verify_password(stored: str | None, password: str) -> bool:
    """Tell whether the password fits; costs the same where there is no stored hash."""
    try:
        _hasher.verify(stored or _nobody(), password)
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


@cache
def _nobody() -> str:
    return _hasher.hash(secrets.token_urlsafe(32))
