"""Passwords: argon2id hashes, and the same work for unknown accounts as for known ones.

Judging, hashing and verifying take tenths of a second. All three refuse to run inside a
transaction: on SQLite nobody else could write meanwhile.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from billtrack.accounts.users.password_strength import is_guessable
from billtrack.core.errors import InvalidError
from billtrack.platform.db import end_read
from billtrack.platform.engines import WRITES
from billtrack.platform.extensions import db

MIN_LENGTH = 12
MAX_LENGTH = 256

_hasher = PasswordHasher()
_turn = threading.Lock()
"""Argon2 takes 64 MiB and all cores for each password: one at a time in a process."""


@dataclass(frozen=True, slots=True)
class HashedPassword:
    """The argon2id hash of a password that was judged; operations take nothing else."""

    text: str = field(repr=False)


def hash_password(password: str, *, about: Sequence[str] = ()) -> HashedPassword:
    """Return the argon2id hash of a password that is long enough and not soon guessed.

    `about` are words that whoever knows the person tries first. Raises InvalidError outside
    12 to 256 characters, and for common passwords, patterns and what is made of them.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidError.at("password", f"Use {MIN_LENGTH} to {MAX_LENGTH} characters.")
    _release_database()
    if is_guessable(password, about=about):
        raise InvalidError.at(
            "password",
            "This is soon guessed. Use several words that have nothing to do with each other.",
        )
    with _turn:
        return HashedPassword(_hasher.hash(password))


def verify_password(stored: str | None, password: str) -> bool:
    """Tell whether the password fits; costs the same where there is no stored hash.

    More than 256 characters never fit, and cost nothing.
    """
    if len(password) > MAX_LENGTH:
        return False
    _release_database()
    try:
        with _turn:
            _hasher.verify(stored or _nobody(), password)
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None


@cache
def _nobody() -> str:
    return _hasher.hash(secrets.token_urlsafe(32))


def _release_database() -> None:
    """Hold no lock and no connection during long work; raises RuntimeError in transaction()."""
    if WRITES in db.session().info:
        raise RuntimeError("passwords are judged, hashed and verified before transaction()")
    end_read()
