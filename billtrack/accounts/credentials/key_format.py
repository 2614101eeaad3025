"""What the text of a secret is like: random characters, and a checksum of them at the end.

The checksum guards nothing. It tells a typing error from a key that is unknown without asking
the database, and lets a scanner of source code be sure of what it found. Keys that were made
before there was one are shorter by its length, and go on working.
"""

from __future__ import annotations

import hashlib
import secrets
import string
from binascii import crc32

API_KEY = "bt_live_"
ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
RANDOM_CHARACTERS = 43
"""43 of 62 letters and digits are 256 bits."""

_PAIRS = [first + second for first in ALPHABET for second in ALPHABET]
_LENGTH = len(API_KEY) + RANDOM_CHARACTERS + 6
_LENGTH_WITHOUT_CHECKSUM = len(API_KEY) + RANDOM_CHARACTERS


def new_secret(prefix: str) -> str:
    """Return a secret text that was never seen before, with its checksum."""
    text = prefix + "".join(secrets.choice(ALPHABET) for _ in range(RANDOM_CHARACTERS))
    return text + checksum(text)


def digest(secret: str) -> str:
    """Return SHA-256 of the text in hex, by which it is stored."""
    # High-entropy random text needs no slow hash; a fast one keeps every request fast.
    return hashlib.sha256(secret.encode()).hexdigest()


def checksum(text: str) -> str:
    """Return CRC-32 of the text as six digits to the base 62, the highest first."""
    number = crc32(text.encode())
    high, low = divmod(number, len(_PAIRS))
    highest, high = divmod(high, len(_PAIRS))
    return _PAIRS[highest] + _PAIRS[high] + _PAIRS[low]


def is_api_key(secret: str) -> bool:
    """Tell whether the text can be an API key; whether there is such a key is another matter."""
    if not secret.startswith(API_KEY):
        return False
    if len(secret) == _LENGTH:
        return secret[-6:] == checksum(secret[:-6])
    return len(secret) == _LENGTH_WITHOUT_CHECKSUM
