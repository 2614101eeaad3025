"""Passwords: argon2id hashes, and the same work for unknown accounts as for known ones."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn import zxcvbn

from billtrack.core.errors import InvalidError

MIN_LENGTH = 12
MAX_LENGTH = 256
LEAST_SCORE = 3
"""Of 4: some hundred million guesses, with argon2 a matter of months."""

LONGEST_JUDGED = 72
"""Characters that are looked at: the time that takes grows faster than the length."""

OWN_WORDS = ("billtrack", "billing", "invoice", "usage")

_hasher = PasswordHasher()


def hash_password(password: str, *, about: Sequence[str] = ()) -> str:
    """Return the argon2id hash of a password that is long enough and not soon guessed.

    `about` are words that whoever knows the person tries first. Raises InvalidError outside
    12 to 256 characters, and for common passwords, patterns and what is made of them.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise InvalidError.at("password", f"Use {MIN_LENGTH} to {MAX_LENGTH} characters.")
    if is_guessable(password, about=about):
        raise InvalidError.at(
            "password",
            "This is soon guessed. Use several words that have nothing to do with each other.",
        )
    return _hasher.hash(password)


def is_guessable(password: str, *, about: Sequence[str] = ()) -> bool:
    """Tell whether somebody who tries common passwords and patterns first finds it soon."""
    names = [*about, *(text.partition("@")[0] for text in about), *OWN_WORDS]
    words = [word for name in names for word in re.split(r"\W+", name) if word]
    judged = zxcvbn(password[:LONGEST_JUDGED], user_inputs=[*names, *words])
    return int(judged["score"]) < LEAST_SCORE


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
