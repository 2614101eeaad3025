"""What makes the codes of a second factor (TOTP, RFC 6238), and how it lies in the database.

It is encrypted with a key made from the secret key of this installation, which the database
does not hold: neither the table nor a copy of it makes codes. The number of the account goes
into the encryption, so that a row is worth nothing under another account.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime

import pyotp
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from billtrack.platform.extensions import current_settings

SECRET_BYTES = 20
"""As RFC 4226 recommends; every app on a telephone takes it."""

STEP_SECONDS = 30
TOLERANCE = 1
"""Steps before and after the present one whose codes are taken: clocks differ, people type."""

_NONCE_BYTES = 12


def new_secret() -> bytes:
    """Return a random secret."""
    return secrets.token_bytes(SECRET_BYTES)


def seal(secret: bytes, *, user_id: int) -> bytes:
    """Return the secret encrypted with the key in force, 48 bytes."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + AESGCM(_keys()[0]).encrypt(nonce, secret, _about(user_id))


def unseal(sealed: bytes, *, user_id: int) -> bytes | None:
    """Return the secret, or None when none of the keys in the settings has encrypted it."""
    nonce, encrypted = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    for key in _keys():
        try:
            return AESGCM(key).decrypt(nonce, encrypted, _about(user_id))
        except InvalidTag:
            continue
    return None


def as_text(secret: bytes) -> str:
    """Return the secret as people type it: 32 letters and digits."""
    return base64.b32encode(secret).decode()


def address_of(secret: bytes, *, account: str) -> str:
    """Return the otpauth: address that an authenticator app reads from a QR code."""
    issuer = f"billtrack ({current_settings().public_host})"
    return _totp(secret).provisioning_uri(name=account, issuer_name=issuer)


def step_at(now: datetime) -> int:
    """Return the number of the time step, counted from 1970."""
    return int(now.timestamp()) // STEP_SECONDS


def find_step(secret: bytes, code: str, *, now: datetime, after: int) -> int | None:
    """Return the time step of this code if it is later than `after`, or None."""
    totp, present = _totp(secret), step_at(now)
    steps = range(max(after + 1, present - TOLERANCE), present + TOLERANCE + 1)
    fitting = [
        step
        for step in steps
        if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode())
    ]
    return fitting[0] if fitting else None


def _totp(secret: bytes) -> pyotp.TOTP:
    return pyotp.TOTP(as_text(secret), interval=STEP_SECONDS)


def _about(user_id: int) -> bytes:
    return f"second factor of account {user_id}".encode()


def _keys() -> Sequence[bytes]:
    """Return the keys: the first encrypts, each of them is good for reading."""
    settings = current_settings()
    if settings.secret_key is None:
        raise RuntimeError("load_settings() provides the secret key")
    old = settings.old_keys.get_secret_value().split() if settings.old_keys else []
    return [
        hmac.digest(secret.encode(), b"billtrack.second_factor.AES-256-GCM", "sha256")
        for secret in (settings.secret_key.get_secret_value(), *old)
    ]
