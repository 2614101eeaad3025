"""Access: which account asks, and whether it may. One answer for the API and the pages.

Every route is decorated with `require(permission)` or `public`; a test refuses routes that
are neither. Integrations send a Bearer credential, browsers their session cookie; the API
takes no cookie, so it needs no protection against forged forms.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import ParamSpec, TypeVar

from flask import Flask, Request, current_app, g, request
from structlog.contextvars import bind_contextvars

from billtrack.accounts.access.credentials import (
    SESSION_COOKIE_KEY,
    bearer_secret,
    by_session,
    find_account,
    has_session,
    is_by_bearer,
    owner_of,
)
from billtrack.accounts.access.principal import Principal
from billtrack.accounts.credentials import recent_keys
from billtrack.accounts.users.permissions import Permission, Reach
from billtrack.core.errors import UnauthenticatedError
from billtrack.platform import audit, limits
from billtrack.platform.http import client_address, plain_address
from billtrack.platform.limits import Budget

__all__ = [
    "PERMISSION_ATTRIBUTE",
    "PUBLIC",
    "REFUSED",
    "SAFE_METHODS",
    "SESSION_COOKIE_KEY",
    "Principal",
    "actor",
    "authenticate",
    "charge",
    "find_principal",
    "init_app",
    "owner_of",
    "principal",
    "probe",
    "public",
    "reach",
    "require",
    "require_credential",
]

P = ParamSpec("P")
R = TypeVar("R")

PERMISSION_ATTRIBUTE = "billtrack_permission"
PUBLIC = "public"
REFUSED = "billtrack.refused"
"""Key in the environ: the error by which the server adapter left the body unread."""

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose body nobody reads."""

_EITHER = "billtrack_either"


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
    app.before_request(_check_sender)


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
        limits.require_welcome(address, known=False)
    elif is_by_bearer(asked, either=getattr(view, _EITHER, False)):
        credential = asked.headers.get("Authorization")
        limits.require_welcome(address, known=_is_known(credential))
        bearer_secret(credential)
    elif not has_session(asked):
        raise UnauthenticatedError("Sign in first.")


def authenticate() -> None:
    """Find the account behind the credential of the request, with no permission in view.

    Raises UnauthenticatedError. Charges nobody: the view does that.
    """
    view = current_app.view_functions.get(request.endpoint or "")
    find_account(by_bearer=is_by_bearer(request, either=getattr(view, _EITHER, False)))


def principal() -> Principal:
    """Return who asks; only inside a view that requires a permission."""
    found: Principal = g.principal
    return found


def find_principal() -> Principal | None:
    """Return who is signed in with the browser, if anybody is."""
    found: Principal | None = g.get("principal")
    return found or by_session(datetime.now(UTC))


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
    by_bearer = is_by_bearer(request, either=either)
    credential = request.headers.get("Authorization") if by_bearer else None
    if credential:
        limits.require_welcome(client_address(), known=_is_known(credential))
    try:
        found = find_account(by_bearer=by_bearer)
    except UnauthenticatedError:
        limits.charge_address()
        raise
    if credential:
        limits.known().add(credential)
    return found


def _check_sender() -> None:
    if request.method in SAFE_METHODS:
        return
    try:
        if REFUSED in request.environ:
            raise request.environ.pop(REFUSED)
        require_credential(request, request.endpoint)
    except UnauthenticatedError:
        limits.charge_address()
        raise


def _is_known(credential: str | None) -> bool:
    """Tell whether the credential has let somebody in before."""
    if credential is None:
        return False
    return credential in limits.known() or recent_keys.has(credential.partition(" ")[2])
