"""Who asks, and may they? One answer for the API and the pages.

Every route is decorated with `require(permission)` or `public`; a test refuses routes that
are neither. Integrations send a Bearer credential, browsers their session cookie; the API
takes no cookie, so it needs no protection against forged forms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import Flask, Request, current_app, g, request, session
from structlog.contextvars import bind_contextvars

from billtrack import audit, limits
from billtrack.accounts import access_tokens, api_keys, sessions
from billtrack.accounts.key_format import is_api_key
from billtrack.accounts.permissions import Permission, Reach, Role, grantable_scopes, granted
from billtrack.core.errors import ForbiddenError, UnauthenticatedError
from billtrack.db import transaction
from billtrack.http import client_address, plain_address
from billtrack.limits import Budget

P = ParamSpec("P")
R = TypeVar("R")

SESSION_COOKIE_KEY = "sid"
PERMISSION_ATTRIBUTE = "billtrack_permission"
PUBLIC = "public"
_EITHER = "billtrack_either"


class MalformedCredential(UnauthenticatedError):
    """What was sent cannot be a credential of billtrack, so nobody looked for it."""

    code = "malformed_credential"


@dataclass(frozen=True, slots=True)
class Principal:
    """The account that asks, and by which credential."""

    user_id: int
    role: Role
    name: str
    email: str
    scopes: frozenset[str] | None = None
    api_key_id: int | None = None
    session_id: int | None = None
    token_family_id: int | None = None

    def reach(self, permission: Permission) -> Reach:
        """Return how far the permission goes; raises ForbiddenError when it is lacking."""
        breadth = granted(self.role, permission)
        if breadth is None:
            raise ForbiddenError(f"The role {self.role} has no permission {permission}.")
        if not self._is_in_scope(permission):
            raise ForbiddenError(f"This API key has no scope {permission}.")
        return Reach(breadth, self.user_id, self._live_scopes)

    def payer(self, budget: Budget) -> str:
        """Name who spends from the budget: each API key by itself, for reports the account."""
        if self.api_key_id is None or budget is Budget.REPORTS:
            return f"user:{self.user_id}"
        return f"key:{self.api_key_id}"

    def may(self, permission: Permission) -> bool:
        """Tell whether to offer what needs the permission."""
        return self._is_in_scope(permission) and granted(self.role, permission) is not None

    def _is_in_scope(self, permission: Permission) -> bool:
        scopes = self._live_scopes
        return scopes is None or permission in scopes

    @property
    def _live_scopes(self) -> frozenset[str] | None:
        # The key may be older than the role: what a key of this role cannot have is gone.
        return None if self.scopes is None else self.scopes & grantable_scopes(self.role)


def require(
    permission: Permission, *, either: bool = False, budget: Budget | None = Budget.API
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let the view run only for an account that has the permission.

    `either` opens a GET route to a signed-in browser and to a Bearer credential alike. Each
    request spends one from `budget`; None where the view spends by what is asked. Raises
    UnauthenticatedError (401), RateLimited (429) or ForbiddenError (403) before anything is
    parsed.
    """

    def decorate(view: Callable[P, R]) -> Callable[P, R]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            g.principal = found = _identify(either=either)
            bind_contextvars(user_id=found.user_id)
            if found.api_key_id is not None:
                bind_contextvars(key_id=found.api_key_id)
            if budget is not None:
                charge(budget)
            found.reach(permission)
            return view(*args, **kwargs)

        setattr(guarded, PERMISSION_ATTRIBUTE, permission)
        setattr(guarded, _EITHER, either)
        return guarded

    return decorate


def init_app(app: Flask) -> None:
    """Refuse what brings no credential before anything reads its body, forged forms included."""
    app.before_request(_check_body_sender)


def public(view: Callable[P, R]) -> Callable[P, R]:
    """Let the view answer without credentials, to each address so often."""

    @wraps(view)
    def counted(*args: P.args, **kwargs: P.kwargs) -> R:
        limits.charge_address()
        return view(*args, **kwargs)

    return probe(counted)


def probe(view: Callable[P, R]) -> Callable[P, R]:
    """Mark a view that answers machines without an account, as often as they ask."""
    setattr(view, PERMISSION_ATTRIBUTE, PUBLIC)
    return view


def require_credential(asked: Request, endpoint: str | None) -> None:
    """Refuse a request whose head brings nothing that can let it in.

    Asks no database: whether a credential holds is decided later. Raises UnauthenticatedError
    and RateLimited. Needs an app context.
    """
    view = current_app.view_functions.get(endpoint or "")
    permission = getattr(view, PERMISSION_ATTRIBUTE, None)
    if permission is None:
        return
    address = plain_address(asked.remote_addr)
    if permission == PUBLIC:
        limits.require_welcome(None, address)
    elif _is_by_bearer(asked, either=getattr(view, _EITHER, False)):
        credential = asked.headers.get("Authorization")
        limits.require_welcome(credential, address)
        bearer_secret(credential)
    elif not _has_session(asked):
        raise UnauthenticatedError("Sign in first.")


def authenticate() -> None:
    """Find the account behind the credential of the request, with no permission in view.

    Raises UnauthenticatedError. Charges nobody: the view does that.
    """
    view = current_app.view_functions.get(request.endpoint or "")
    _find(by_bearer=_is_by_bearer(request, either=getattr(view, _EITHER, False)))


def principal() -> Principal:
    """Return who asks; only inside a view that requires a permission."""
    found: Principal = g.principal
    return found


def find_principal() -> Principal | None:
    """Return who is signed in with the browser, if anybody is."""
    found: Principal | None = g.get("principal")
    return found or _by_session(datetime.now(UTC))


def reach(permission: Permission) -> Reach:
    """Return how far the permission goes for who asks; raises ForbiddenError."""
    return principal().reach(permission)


def charge(budget: Budget, *, cost: int = 1) -> None:
    """Spend from the budget of who asks; raises RateLimited."""
    limits.charge(budget, principal().payer(budget), cost)


def actor() -> audit.Actor:
    """Return who asks, as audit entries and jobs keep it."""
    who: Principal | None = g.get("principal")
    return audit.Actor(
        user_id=who.user_id if who else None,
        api_key_id=who.api_key_id if who else None,
        address=client_address(),
        request_id=g.get("request_id"),
    )


def _identify(*, either: bool) -> Principal:
    """Return who asks; whoever nobody knows is counted by address, and stopped there."""
    by_bearer = _is_by_bearer(request, either=either)
    credential = request.headers.get("Authorization") if by_bearer else None
    if credential:
        limits.require_welcome(credential, client_address())
    try:
        found = _find(by_bearer=by_bearer)
    except UnauthenticatedError:
        limits.charge_address()
        raise
    if credential:
        limits.known().add(credential)
    return found


def _find(*, by_bearer: bool) -> Principal:
    now = datetime.now(UTC)
    if by_bearer:
        return _by_bearer(now)
    found = _by_session(now)
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


def _check_body_sender() -> None:
    if request.method in {"GET", "HEAD", "OPTIONS"}:
        return
    try:
        require_credential(request, request.endpoint)
    except UnauthenticatedError:
        limits.charge_address()
        raise


def _has_session(asked: Request) -> bool:
    """Tell whether the session cookie is one of ours; whether it has ended is another matter."""
    opened = current_app.session_interface.open_session(current_app, asked)
    return opened is not None and SESSION_COOKIE_KEY in opened


def _is_by_bearer(asked: Request, *, either: bool) -> bool:
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


def owner_of(key: api_keys.LiveKey) -> Principal:
    """Return the account behind an API key, with what the key may."""
    return Principal(
        user_id=key.user_id,
        role=Role(key.role),
        name=key.name,
        email=key.email,
        scopes=frozenset(key.scopes),
        api_key_id=key.id,
    )


def _by_session(now: datetime) -> Principal | None:
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
