"""Access tokens: signed statements (JWT, RFC 9068) of who signed in, good for 15 minutes.

They do not say what somebody may. Each use asks the database whether the sign-in still holds
and which role the account has now: a token that was true when it was made opens nothing once
that has changed. They are signed with a secret of this installation, for nobody else reads
them; so there is one algorithm, and what a token says about algorithms decides nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import jwt
from sqlalchemy import bindparam, select

from billtrack.accounts.users.models import TokenFamily, User
from billtrack.platform.driver import read_now
from billtrack.platform.extensions import current_settings
from billtrack.platform.secrets import parse_keys

ALGORITHM = "HS256"
TYPE = "at+jwt"
AUDIENCE = "billtrack-api"
LIFETIME = timedelta(minutes=15)
CLOCKS_DIFFER_BY = timedelta(seconds=10)
"""How far the clocks of two machines may be apart that serve one installation."""

LONGEST = 2048
"""Characters; ours have about 400. What is longer is not even looked at."""

_FORM = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)
_CLAIMS = ("iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp")
_LIVE = (
    select(TokenFamily.id, TokenFamily.expires_at, User.id, User.role, User.name, User.email)
    .join(User, User.id == TokenFamily.user_id)
    .where(
        TokenFamily.id == bindparam("family_id"),
        User.id == bindparam("user_id"),
        TokenFamily.revoked_at.is_(None),
        User.deactivated_at.is_(None),
    )
)


@dataclass(frozen=True, slots=True)
class LiveToken:
    """A sign-in that still holds, with its account as it is now."""

    family_id: int
    expires_at: datetime
    user_id: int
    role: str
    name: str
    email: str


@dataclass(frozen=True, slots=True)
class _Said:
    """What a token of ours says: which account signed in, and which sign-in that was."""

    user_id: int
    family_id: int


def is_token(text: str) -> bool:
    """Tell whether the text has the form of an access token."""
    return len(text) <= LONGEST and _FORM.fullmatch(text) is not None


def sign(family: TokenFamily, *, now: datetime) -> str:
    """Return an access token of this sign-in, good for 15 minutes from `now`."""
    key_id, key = next(iter(_signing_keys().items()))
    claims = {
        "iss": current_settings().public_url,
        "aud": AUDIENCE,
        "sub": str(family.user_id),
        "sid": str(family.id),
        "jti": secrets.token_urlsafe(12),
        "iat": now,
        "nbf": now,
        "exp": now + LIFETIME,
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": key_id, "typ": TYPE})


def find_live_token(token: str, *, now: datetime) -> LiveToken | None:
    """Return the sign-in behind the token with its account, or None when it opens nothing."""
    said = _read(token)
    if said is None:
        return None
    rows = read_now(_LIVE, {"family_id": said.family_id, "user_id": said.user_id})
    found = next((LiveToken(*row) for row in rows), None)
    return found if found is not None and found.expires_at > now else None


def _read(token: str) -> _Said | None:
    """Return what the token says if we signed it and it is in force by this machine's clock."""
    try:
        header = jwt.get_unverified_header(token)
        key = _signing_keys().get(header.get("kid", ""))
        # Ours have these three and nothing else: no second way to say how they are to be read.
        if key is None or header != {"alg": ALGORITHM, "typ": TYPE, "kid": header["kid"]}:
            return None
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            issuer=current_settings().public_url,
            leeway=CLOCKS_DIFFER_BY,
            options={"require": list(_CLAIMS), "strict_aud": True},
        )
    except jwt.InvalidTokenError:
        return None
    ids = (claims["sub"], str(claims["sid"]))
    return _Said(*map(int, ids)) if all(map(_ID.fullmatch, ids)) else None


def _signing_keys() -> Mapping[str, bytes]:
    """Return the keys by their names: the first signs, each of them is good for reading."""
    settings = current_settings()
    if settings.jwt_keys is not None:
        return parse_keys(settings.jwt_keys.get_secret_value())
    if settings.secret_key is None:
        raise RuntimeError("load_settings() provides the secret key")
    secret = settings.secret_key.get_secret_value().encode()
    key = hmac.digest(secret, b"billtrack.jwt.HS256", "sha256")
    # Named after itself: with another secret, tokens from before are of an unknown key.
    return {hashlib.sha256(key).hexdigest()[:8]: key}
