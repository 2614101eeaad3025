"""The secret in a link: made from a random seed and the key of this installation.

A letter waits in the database with its seed only. So neither the table nor a backup of it
ever holds a link that opens: the key is not stored there.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from billtrack.platform.extensions import current_settings

SEED_LENGTH = 32


def new_seed() -> bytes:
    """Return a random seed for one letter."""
    return secrets.token_bytes(SEED_LENGTH)


def secret_of(seed: bytes) -> str:
    """Return the secret text for the link, the same for the same seed, 43 characters."""
    key = current_settings().secret_key
    if key is None:
        raise RuntimeError("load_settings() provides the secret key")
    digest = hmac.digest(key.get_secret_value().encode(), b"link in a letter:" + seed, "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def hash_secret(secret: str) -> str:
    """Return what may be stored of a secret: it is random, so a fast hash is enough."""
    return hashlib.sha256(secret.encode()).hexdigest()
