"""What a request must be like to go the short way."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO
from wsgiref.types import WSGIEnvironment

from billtrack.accounts import access
from billtrack.accounts.credentials import api_keys, recent_keys
from billtrack.accounts.credentials.key_cache import LiveKey
from billtrack.accounts.credentials.key_format import is_api_key
from billtrack.accounts.users.permissions import Permission
from billtrack.platform import limits
from billtrack.platform.http import plain_address
from billtrack.platform.limits import Budget

SCHEME = "Bearer "
LONGEST_BODY = 16 * 1024
"""Bytes: a record with all that it may have is far below."""

_BY_ROUTE = ("HTTP_CONTENT_ENCODING", "HTTP_TRANSFER_ENCODING", "HTTP_IDEMPOTENCY_KEY")
"""Headers that the route knows what to do with."""


def plain_secret(environ: WSGIEnvironment) -> str | None:
    """Return the API key of the request, or None where it brings something else.

    From an address that is shut out only keys in use come this way.
    """
    given: str = environ.get("HTTP_AUTHORIZATION", "")
    secret = given.removeprefix(SCHEME)
    if given == secret or not is_api_key(secret):
        return None
    is_shut_out = limits.is_shut_out(plain_address(environ.get("REMOTE_ADDR")))
    return None if is_shut_out and not recent_keys.has(secret) else secret


def has_plain_body(environ: WSGIEnvironment) -> bool:
    """Tell by the head whether the body is JSON of the size of a record, and no more than that."""
    if environ.get("CONTENT_TYPE") != "application/json" or environ.keys() & _BY_ROUTE:
        return False
    return 0 < int(environ.get("CONTENT_LENGTH") or 0) <= LONGEST_BODY


def plain_body(environ: WSGIEnvironment) -> bytes | None:
    """Return the JSON that was sent, which can be read again; None where that is not plain."""
    if not has_plain_body(environ):
        return None
    body: bytes = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
    environ["wsgi.input"] = BytesIO(body)
    return body


def may_spend(who: access.Principal) -> bool:
    """Take one from what the key may record and read; where none is left, the route says so."""
    return limits.spend(Budget.USAGE, who.payer(Budget.USAGE))


def find_owner(
    key: LiveKey | None, permission: Permission, *, now: datetime
) -> access.Principal | None:
    """Return who asks, or None where the route has to say why not, or to note the use."""
    if key is None or not api_keys.is_valid(key, now=now) or api_keys.is_unseen(key, now=now):
        return None
    owner = access.owner_of(key)
    return owner if owner.may(permission) else None
