"""What every answer has in common: request ids, errors, security headers.

Expected errors reach HTTP through one table of categories; whatever else happens is logged
once and answered with a plain 500 and the request id.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlencode

import structlog
from flask import Flask, Response, g, jsonify, redirect, render_template, request, url_for
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException, LengthRequired, RequestEntityTooLarge
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Response as AnyResponse

from billtrack.core.errors import (
    BilltrackError,
    ConflictError,
    FieldError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    UnauthenticatedError,
    UnavailableError,
    UnparsableError,
)
from billtrack.engines import ran_out_of_time
from billtrack.metrics.counting import count_request

log = structlog.get_logger(__name__)

PROBES = frozenset({"health", "scrape"})
"""Blueprints that machines ask every few seconds: of their answers only refusals are news."""

MAX_BODY = 16 * 1024 * 1024
LONGEST_ADDRESS = 64
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

STATUS_OF: tuple[tuple[type[BilltrackError], int], ...] = (
    (UnparsableError, 400),
    (UnauthenticatedError, 401),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (InvalidError, 422),
    (UnavailableError, 503),
)

CODE_OF = {
    400: "bad_request",
    401: "unauthenticated",
    404: "not_found",
    405: "method_not_allowed",
    411: "length_required",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid",
    500: "internal_error",
    503: "unavailable",
}

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
        "form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
}


class IdConverter(BaseConverter):
    """A positive id of at most 18 digits in a path; anything else is no such page."""

    regex = "[1-9][0-9]{0,17}"

    def to_python(self, value: str) -> int:
        """Return the id as a number."""
        return int(value)


class CodeConverter(BaseConverter):
    """The code of a meter or a plan in a path; anything else is no such page."""

    regex = "[A-Za-z0-9][A-Za-z0-9._-]{0,63}"


def init_app(app: Flask, *, secure: bool) -> None:
    """Give every request an id, every answer the headers, and every error one shape."""
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY
    app.url_map.strict_slashes = False
    app.url_map.converters |= {"id": IdConverter, "code": CodeConverter}
    app.before_request(_begin)
    app.after_request(_secure if secure else _finish)
    app.register_error_handler(Exception, answer_error)


def problem(status: int, code: str, detail: str, errors: Sequence[FieldError] = ()) -> Response:
    """Return an RFC 9457 answer with billtrack's stable code and the request id."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": g.get("request_id"),
        "errors": [{"field": error.field, "detail": error.detail} for error in errors],
    }
    response = jsonify(body)
    response.status_code = status
    response.mimetype = "application/problem+json"
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="billtrack"'
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = "1"
    return response


def answer_error(error: Exception) -> AnyResponse:
    """Return the answer to any exception that left a view."""
    if isinstance(error, BilltrackError):
        status = next((code for kind, code in STATUS_OF if isinstance(error, kind)), 500)
        return _answer(status, error.code, error.detail, error.errors)
    if isinstance(error, CSRFError):
        return _answer(400, "csrf", "This form was open for too long. Go back and send it again.")
    if isinstance(error, HTTPException):
        return _answer_http(error)
    if isinstance(error, SQLAlchemyError):
        return _answer_database(error)
    return _answer_unexpected(error)


def client_address() -> str | None:
    """Return the address that asks; None for what a proxy forwarded that is no address."""
    address = request.remote_addr or ""
    try:
        ip_address(address)
    except ValueError:
        return None
    # A zone after the address may be of any length.
    return address if len(address) <= LONGEST_ADDRESS else None


def is_api_request() -> bool:
    """Tell whether the answer is for a program rather than for a browser."""
    return request.path.startswith("/api/") or "Authorization" in request.headers


_TOO_SLOW = (
    "The database did not finish this within its time limit. "
    "Ask for less at once, such as fewer days, or try again later."
)


def _answer_database(error: SQLAlchemyError) -> AnyResponse:
    # However the driver calls it when the server ended the connection.
    is_lost = isinstance(error, DBAPIError) and error.connection_invalidated
    if ran_out_of_time(error):
        log.warning("statement_timeout", error=str(error))
        return _answer(503, "statement_timeout", _TOO_SLOW)
    if is_lost or isinstance(error, OperationalError | PoolTimeout):
        log.warning("database_unavailable", error=str(error))
        return _answer(503, "unavailable", "The database is busy or away. Try again in a moment.")
    if isinstance(error, IntegrityError):
        log.warning("write_conflict", error=str(error))
        return _answer(409, "conflict", "Somebody else changed this just now. Try again.")
    return _answer_unexpected(error)


def _answer_unexpected(error: Exception) -> AnyResponse:
    log.error("unexpected_error", exc_info=error)
    return _answer(500, "internal_error", "Something unexpected happened. It has been logged.")


def _answer_http(error: HTTPException) -> AnyResponse:
    status = error.code or 500
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return error.get_response(request.environ)
    response = _answer(status, CODE_OF.get(status, "error"), error.description or error.name)
    for name, value in error.get_headers():
        if name in {"Allow", "Retry-After", "Accept-Encoding"}:
            response.headers[name] = value
    return response


def _answer(status: int, code: str, detail: str, errors: Sequence[FieldError] = ()) -> AnyResponse:
    if is_api_request():
        return problem(status, code, detail, errors)
    if status == HTTPStatus.UNAUTHORIZED:
        return _to_sign_in()
    page = render_template(
        "errors/error.html", status=status, title=HTTPStatus(status).phrase, detail=detail
    )
    return Response(page, status=status)


def _to_sign_in() -> AnyResponse:
    target = request.full_path.rstrip("?") if request.method == "GET" else "/"
    address = url_for("dashboard.sign_in")
    if target != "/":
        address += "?" + urlencode({"next": target})
    if request.headers.get("HX-Request"):
        return Response(status=204, headers={"HX-Redirect": address})
    return redirect(address, code=303)


def _begin() -> None:
    g.started = time.perf_counter()
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    if "Transfer-Encoding" in request.headers:
        # A chunked body over the limit would be cut without a word.
        raise LengthRequired("Send the body with a Content-Length.")
    if (request.content_length or 0) > MAX_BODY:
        raise RequestEntityTooLarge(f"Send at most {MAX_BODY // 1024 // 1024} MiB.")


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
    status, route = response.status_code, request.url_rule
    count_request(
        method=request.method, route=route.rule if route else None, status=status, seconds=seconds
    )
    is_probe = request.blueprint in PROBES and status < HTTPStatus.BAD_REQUEST
    (log.debug if is_probe else log.info)(
        "request",
        method=request.method,
        path=request.path,
        status=status,
        milliseconds=round(seconds * 1000, 1),
        address=client_address(),
    )


def _secure(response: Response) -> Response:
    response.headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"
    return _finish(response)
