"""Find the account behind a credential: an API key, an access token or a session cookie."""

from __future__ import annotations

from datetime import UTC, datetime

from flask import Request, current_app, request, session

from billtrack.accounts.access.principal import Principal
from billtrack.accounts.credentials import access_tokens, api_keys
from billtrack.accounts.credentials.key_cache import LiveKey
from billtrack.accounts.credentials.key_format import is_api_key
from billtrack.accounts.sign_in import sessions
from billtrack.accounts.users.permissions import Role
from billtrack.core.errors import UnauthenticatedError
from billtrack.platform.db import transaction

SESSION_COOKIE_KEY = "sid"


class MalformedCredential(UnauthenticatedError):
    """The credential has no known form, so it is not looked up."""

    code = "malformed_credential"


def find_account(*, by_bearer: bool) -> Principal:
    """Return the account that the request comes from; raises UnauthenticatedError."""
    now = datetime.now(UTC)
    if by_bearer:
        return _by_bearer(now)
    found = by_session(now)
    if found is None:
        raise UnauthenticatedError("Sign in first.")
    return found


def bearer_secret(credential: str | None) -> str:
    """Return the API key or access token in an Authorization header.

    Raises UnauthenticatedError where there is none, and MalformedCredential.
    """
    scheme, _, secret = (credential or "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise UnauthenticatedError("Send an API key: Authorization: Bearer bt_live_…")
    secret = secret.strip()
    if not is_api_key(secret) and not access_tokens.is_token(secret):
        raise MalformedCredential(
            "This is no API key and no access token: look for missing characters."
        )
    return secret


def has_session(asked: Request) -> bool:
    """Tell whether the session cookie is one of ours; whether it has ended is another matter."""
    opened = current_app.session_interface.open_session(current_app, asked)
    return opened is not None and SESSION_COOKIE_KEY in opened


def is_by_bearer(asked: Request, *, either: bool) -> bool:
    """Tell whether the Authorization header counts, rather than the session cookie."""
    return "Authorization" in asked.headers if either else asked.path.startswith("/api/")


def _by_bearer(now: datetime) -> Principal:
    secret = bearer_secret(request.headers.get("Authorization"))
    return _by_api_key(secret, now) if is_api_key(secret) else _by_access_token(secret, now)


def _by_api_key(secret: str, now: datetime) -> Principal:
    key = api_keys.find_live_key(secret, now=now)
    if key is None:
        raise UnauthenticatedError("This API key is unknown, expired or revoked.")
    if api_keys.is_unseen(key, now=now):
        with transaction():
            api_keys.mark_used(key.id, now=now)
    return owner_of(key)


def _by_access_token(secret: str, now: datetime) -> Principal:
    """Return the account behind an access token, with all that its role may now."""
    token = access_tokens.find_live_token(secret, now=now)
    if token is None:
        raise UnauthenticatedError("This access token has ended or was never one. Get a new one.")
    return Principal(
        user_id=token.user_id,
        role=Role(token.role),
        name=token.name,
        email=token.email,
        token_family_id=token.family_id,
    )


def owner_of(key: LiveKey) -> Principal:
    """Return the account behind an API key, with what the key may."""
    return Principal(
        user_id=key.user_id,
        role=Role(key.role),
        name=key.name,
        email=key.email,
        scopes=frozenset(key.scopes),
        api_key_id=key.id,
    )


def by_session(now: datetime) -> Principal | None:
    """Return the account that is signed in with the browser, if any."""
    token = session.get(SESSION_COOKIE_KEY)
    live = sessions.find_session(token, now=now) if isinstance(token, str) else None
    if live is None:
        return None
    row, user = live
    found = Principal(
        user_id=user.id,
        role=Role(user.role),
        name=user.name,
        email=user.email,
        session_id=row.id,
    )
    if now - row.seen_at > sessions.SEEN_INTERVAL:
        with transaction():
            sessions.mark_seen(row.id, now=now)
    return found
