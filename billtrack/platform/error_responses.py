"""Errors as answers: one table of categories, problem+json for programs, a page for people.

Whatever is not expected is logged once and answered with a plain 500 and the request id.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import structlog
from flask import Response, g, jsonify, redirect, render_template, request, url_for
from flask_wtf.csrf import CSRFError
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as AnyResponse

from billtrack.core.errors import (
    BilltrackError,
    ConflictError,
    FieldError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    TooManyRequestsError,
    UnauthenticatedError,
    UnavailableError,
    UnparsableError,
)
from billtrack.platform.engines import ran_out_of_time

log = structlog.get_logger(__name__)

STATUS_OF: tuple[tuple[type[BilltrackError], int], ...] = (
    (UnparsableError, 400),
    (UnauthenticatedError, 401),
    (ForbiddenError, 403),
    (NotFoundError, 404),
    (ConflictError, 409),
    (InvalidError, 422),
    (TooManyRequestsError, 429),
    (UnavailableError, 503),
)

MAX_ERRORS = 50
"""Fields that an answer names at most."""

CODE_OF = {
    400: "bad_request",
    401: "unauthenticated",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    411: "length_required",
    413: "body_too_large",
    415: "unsupported_media_type",
    422: "invalid",
    500: "internal_error",
    503: "unavailable",
}


def problem(status: int, code: str, detail: str, errors: Sequence[FieldError] = ()) -> Response:
    """Return an RFC 9457 answer with billtrack's stable code and the request id."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "request_id": g.get("request_id"),
        "errors": [{"field": error.field, "detail": error.detail} for error in errors[:MAX_ERRORS]],
    }
    response = jsonify(body)
    response.status_code = status
    response.mimetype = "application/problem+json"
    if status == HTTPStatus.UNAUTHORIZED:
        response.headers["WWW-Authenticate"] = 'Bearer realm="billtrack"'
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = "1"
    return response


def field_errors(error: ValidationError) -> list[FieldError]:
    """Return what is wrong, field by field, in words for whoever sent it."""
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [FieldError(_path(detail["loc"]), detail["msg"]) for detail in details[:MAX_ERRORS]]


def _path(location: tuple[str | int, ...]) -> str:
    # Between the names pydantic puts what it tried, such as list[int], and [key] for a name.
    parts = (str(part) for part in location)
    return ".".join(part for part in parts if not part.endswith("]")) or "body"


def answer_error(error: Exception) -> AnyResponse:
    """Return the answer to any exception that left a view."""
    if isinstance(error, BilltrackError):
        status = next((code for kind, code in STATUS_OF if isinstance(error, kind)), 500)
        response = _answer(status, error.code, error.detail, error.errors)
        if isinstance(error, TooManyRequestsError):
            response.headers["Retry-After"] = str(error.retry_after)
        return response
    if isinstance(error, CSRFError):
        return _answer(400, "csrf", "This form was open for too long. Go back and send it again.")
    if isinstance(error, HTTPException):
        return _answer_http(error)
    if isinstance(error, SQLAlchemyError):
        return _answer_database(error)
    return _answer_unexpected(error)


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
