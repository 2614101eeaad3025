"""Checks that the head of a request decides alone: headers, host, length of the body.

The server adapter makes them before it reads a body, the application before anything else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any, TypeVar
from wsgiref.types import WSGIEnvironment

import flask
from flask import current_app
from werkzeug.datastructures import ImmutableMultiDict
from werkzeug.exceptions import LengthRequired, RequestEntityTooLarge
from werkzeug.http import parse_cookie

from billtrack.core.errors import FieldError, UnparsableError
from billtrack.core.hosts import is_trusted
from billtrack.platform.extensions import current_settings

View = TypeVar("View", bound=Callable[..., Any])

KNOWN_HOSTS = "billtrack.known_hosts"

PROBES = frozenset({"health", "scrape"})
"""Blueprints that machines ask every few seconds, by whatever name they know."""

MAX_BODY = 16 * 1024 * 1024
"""Bytes of the largest lists: batches, imports, reconciliation."""

MAX_LIST_BODY = 1024 * 1024
"""Bytes of shorter lists: accounts of a report, charges of a quote."""

MAX_SMALL_BODY = 64 * 1024
"""Bytes of every other body."""

HEADER_FAULT = "billtrack.header_fault"
"""Key in the environ: what the server adapter found wrong with a header, or None."""

SINGLE = frozenset(
    {"HTTP_AUTHORIZATION", "HTTP_HOST", "HTTP_IDEMPOTENCY_KEY", "CONTENT_LENGTH", "CONTENT_TYPE"}
)
"""Headers that have one value. Joined, as lists are, they would mean something else."""

_ANY_CHARACTERS = frozenset({"HTTP_COOKIE", "HTTP_USER_AGENT", "HTTP_REFERER"})
"""Headers that other programs fill, and that decide nothing of what is stored."""

_BODY_LIMIT = "billtrack_body_limit"


class InvalidHeader(UnparsableError):
    """A header cannot be read without guessing what was meant."""

    code = "invalid_header"


class UntrustedHost(UnparsableError):
    """The request was sent to a name that is not known to be billtrack's."""

    code = "untrusted_host"


class Request(flask.Request):
    """A request whose cookies are read one by one.

    Other programs on the same host set cookies, too. One that is no UTF-8 is passed over.
    """

    @cached_property
    def cookies(self) -> ImmutableMultiDict[str, str]:
        """Return the cookies that can be read; the first of a name comes first."""
        sent = self.headers.get("Cookie", "").split(";")
        return ImmutableMultiDict(parse_cookie(";".join(filter(_is_utf8, sent))))


def accepts_body(*, up_to: int) -> Callable[[View], View]:
    """Let the view take a body of so many bytes; without this it is MAX_SMALL_BODY."""

    def decorate(view: View) -> View:
        setattr(view, _BODY_LIMIT, up_to)
        return view

    return decorate


def body_limit(endpoint: str | None) -> int:
    """Return how many bytes of body, packed or not, the route takes."""
    view = current_app.view_functions.get(endpoint or "")
    return int(getattr(view, _BODY_LIMIT, MAX_SMALL_BODY))


def too_large(limit: int, *, unpacked: bool = False) -> RequestEntityTooLarge:
    """Return the refusal of a body over the limit, in bytes."""
    size = f"{limit // MAX_LIST_BODY} MiB" if limit >= MAX_LIST_BODY else f"{limit // 1024} KiB"
    return RequestEntityTooLarge(
        f"Send at most {size}{', counted after unpacking' if unpacked else ''}."
    )


def require_sound_head(request: flask.Request, endpoint: str | None) -> None:
    """Refuse what the head of the request decides.

    Raises InvalidHeader, UntrustedHost, LengthRequired and RequestEntityTooLarge. Needs an app
    context; `endpoint` is None where no route fits.
    """
    fault = _find_fault(request.environ)
    if fault is not None:
        raise fault
    if not _is_probe(endpoint) and not _names_us(request.environ):
        raise UntrustedHost(
            f"billtrack does not answer under this name. Go to {current_settings().public_url}, "
            "or add the name to BILLTRACK_TRUSTED_HOSTS."
        )
    if "Transfer-Encoding" in request.headers:
        # The server adapter decodes chunks. From another server a body over the limit would be cut.
        raise LengthRequired("Send the body with a Content-Length.")
    limit = body_limit(endpoint)
    if (request.content_length or 0) > limit:
        raise too_large(limit)


def is_sound(environ: WSGIEnvironment) -> bool:
    """Tell whether headers and host are in order; the fast path takes nothing else."""
    return _find_fault(environ) is None and _names_us(environ)


def header_fault(key: str, *, repeated: bool, is_ascii: bool) -> InvalidHeader | None:
    """Return what is wrong with a header, which `key` names as the environ does; None if nothing.

    Headers that other programs fill may hold any character.
    """
    if repeated and key in SINGLE:
        problem = "was sent more than once. Send it once."
    elif not is_ascii and key not in _ANY_CHARACTERS:
        problem = "has a character outside ASCII. Use ASCII only."
    else:
        return None
    name = key.removeprefix("HTTP_").replace("_", "-").title()
    detail = f"The header {name} {problem}"
    return InvalidHeader(detail, errors=[FieldError(name, detail)])


def _find_fault(environ: WSGIEnvironment) -> InvalidHeader | None:
    """Return the fault that the server adapter noted; look for one where another server runs."""
    if HEADER_FAULT in environ:
        noted: InvalidHeader | None = environ[HEADER_FAULT]
        return noted
    headers = (key for key in environ if key.startswith(("HTTP_", "CONTENT_")))
    faults = (header_fault(key, repeated=False, is_ascii=environ[key].isascii()) for key in headers)
    return next(filter(None, faults), None)


def _is_probe(endpoint: str | None) -> bool:
    return endpoint is not None and endpoint.partition(".")[0] in PROBES


def _names_us(environ: WSGIEnvironment) -> bool:
    """Tell whether the request names a host under which billtrack answers, or none at all."""
    host = environ.get("HTTP_HOST")
    return not host or is_trusted(host, current_app.extensions[KNOWN_HOSTS])


def _is_utf8(cookie: str) -> bool:
    try:
        cookie.encode("latin-1").decode()
    except UnicodeDecodeError:
        return False
    return True
