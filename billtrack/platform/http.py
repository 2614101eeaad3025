"""What every request and answer has in common: ids, security headers, a line in the log."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any, TypeVar
from wsgiref.types import WSGIApplication, WSGIEnvironment

import structlog
from flask import Flask, Response, current_app, g, request
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Response as AnyResponse

from billtrack.platform.error_responses import answer_error
from billtrack.platform.metrics.counting import count_request
from billtrack.platform.request_head import (
    KNOWN_HOSTS,
    MAX_BODY,
    PROBES,
    Request,
    require_sound_head,
)

log = structlog.get_logger(__name__)

View = TypeVar("View", bound=Callable[..., Any])

LONGEST_ADDRESS = 64
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}


_QUIET = "billtrack_quiet"

STRICT_TRANSPORT = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}


class IdConverter(BaseConverter):
    """A positive id of at most 18 digits in a path; anything else is no such page."""

    regex = "[1-9][0-9]{0,17}"

    def to_python(self, value: str) -> int:
        """Return the id as a number."""
        return int(value)


class CodeConverter(BaseConverter):
    """The code of a meter or a plan in a path; anything else is no such page."""

    regex = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def init_app(app: Flask, *, secure: bool, known_hosts: frozenset[str]) -> None:
    """Give every request an id, every answer the headers, and every error one shape.

    Only probes are answered under names that are not known: those who watch and balance know
    machines, not names.
    """
    app.extensions[KNOWN_HOSTS] = known_hosts
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # it would redirect, to a host that the request names
    app.url_map.converters |= {"id": IdConverter, "code": CodeConverter}
    app.request_class = Request
    app.before_request(_begin)
    app.before_request(_check_head)
    app.after_request(_secure if secure else _finish)
    app.register_error_handler(Exception, answer_error)


def quiet(view: View) -> View:
    """Mark a view whose requests leave no line in the log, unless they are refused or fail."""
    setattr(view, _QUIET, True)
    return view


def choose_request_id(given: str) -> str:
    """Return the id that the client gave, or a new one where that is none."""
    if REQUEST_ID.fullmatch(given):
        return given
    # Nothing is guarded by it; the system's own random numbers would cost each request a switch.
    return f"{random.getrandbits(64):016x}"


def answer_outside(
    app: Flask, environ: WSGIEnvironment, error: Exception, ids: Mapping[str, int | None]
) -> AnyResponse:
    """Return the answer to an exception that was raised where no view runs.

    `ids` tell the log who asked, where that is known.
    """
    with app.request_context(environ):
        _begin()
        structlog.contextvars.bind_contextvars(**ids)
        return app.process_response(app.make_response(answer_error(error)))


def api_headers(*, secure: bool) -> list[tuple[str, str]]:
    """Return the headers that every answer of the API has, but for its request id."""
    headers = {**HEADERS, "Cache-Control": "no-store"}
    return list((headers | STRICT_TRANSPORT if secure else headers).items())


def client_address() -> str | None:
    """Return the address that asks; None for what a proxy forwarded that is no address."""
    return plain_address(request.remote_addr)


@lru_cache(maxsize=1024)
def plain_address(given: str | None) -> str | None:
    """Return the address where it is one."""
    # A zone after the address may be of any length.
    if given is None or len(given) > LONGEST_ADDRESS:
        return None
    try:
        ip_address(given)
    except ValueError:
        return None
    return given


def _begin() -> None:
    g.started = time.perf_counter()
    g.request_id = choose_request_id(request.headers.get("X-Request-Id", ""))
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _check_head() -> None:
    require_sound_head(request, request.endpoint)


def behind_proxies(app: WSGIApplication, hops: int) -> WSGIApplication:
    """Let the app believe what the last `hops` proxies forward; without any nobody is believed."""
    return ProxyFix(app, x_for=hops, x_proto=hops, x_host=hops) if hops else app


def _finish(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["X-Request-Id"] = g.get("request_id", "")
    if request.endpoint != "static":
        response.headers.setdefault("Cache-Control", "no-store")
        _tell(response)
    return response


def _tell(response: Response) -> None:
    """Count the request and log it; never its query string, which may hold a secret."""
    seconds = time.perf_counter() - g.started
    route = request.url_rule.rule if request.url_rule else None
    count_request(method=request.method, route=route, status=response.status_code, seconds=seconds)
    view = current_app.view_functions.get(request.endpoint or "")
    is_quiet = request.blueprint in PROBES or hasattr(view, _QUIET)
    if is_quiet and response.status_code < HTTPStatus.BAD_REQUEST:
        return
    log.info(
        "request",
        method=request.method,
        path=request.path,
        status=response.status_code,
        milliseconds=round(seconds * 1000, 1),
        address=plain_address(request.remote_addr),
    )


def _secure(response: Response) -> Response:
    response.headers.update(STRICT_TRANSPORT)
    return _finish(response)
