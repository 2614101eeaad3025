"""The short way as a WSGI application, with the long one behind it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask

from billtrack import http, limits
from billtrack.access import Principal
from billtrack.express import reading, recording
from billtrack.express.answers import Answer, Refusal
from billtrack.limits import Budget


class ExpressLane:
    """Answers the plain requests for usage records; `otherwise` answers all others."""

    def __init__(self, app: Flask, otherwise: WSGIApplication, *, secure: bool) -> None:
        self._app = app
        self._otherwise = otherwise
        self._headers = http.api_headers(secure=secure)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, with or without the framework."""
        started = time.perf_counter()
        with self._app.app_context():
            try:
                answer = _try(environ)
            except Exception as error:  # noqa: BLE001 (answered and logged as the routes do)
                return self._refuse(error, environ, start_response)
            if isinstance(answer, Refusal):
                return self._refuse(answer.error, environ, start_response, answer.who)
            if answer is not None:
                return self._send(answer, environ, start_response, started)
        return self._otherwise(environ, start_response)

    def _refuse(
        self,
        error: Exception,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        who: Principal | None = None,
    ) -> Iterable[bytes]:
        """Let the framework word the error; this is rare."""
        ids = {"user_id": who.user_id, "key_id": who.api_key_id} if who else {}
        response = http.answer_outside(self._app, environ, error, ids)
        return response(environ, start_response)

    def _send(
        self,
        answer: Answer,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        started: float,
    ) -> list[bytes]:
        request_id = http.choose_request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(answer.body))),
            *([("Location", answer.location)] if answer.location else ()),
            *self._headers,
            *limits.headers(Budget.USAGE, answer.who.payer(Budget.USAGE)),
            ("X-Request-Id", request_id),
        ]
        start_response(answer.status, headers)
        http.tell(
            method=environ["REQUEST_METHOD"],
            path=environ["PATH_INFO"],
            route=answer.route,
            status=int(answer.status[:3]),
            seconds=time.perf_counter() - started,
            address=environ.get("REMOTE_ADDR"),
            request_id=request_id,
            user_id=answer.who.user_id,
            key_id=answer.who.api_key_id,
            # Each is a row, and counted. As a line of its own it would take as long to write as
            # the rest of its request.
            is_news=False,
        )
        return [answer.body]


def _try(environ: WSGIEnvironment) -> Answer | Refusal | None:
    if not http.is_for_us(environ):
        return None
    method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
    if method == "POST" and path in recording.PATHS:
        return recording.record(environ)
    if method == "GET" and (matched := reading.PATH.fullmatch(path)):
        return reading.read(environ, int(matched[1]))
    return None
