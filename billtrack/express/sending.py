"""How an answer of the short way leaves: its headers, and what is told of it."""

from __future__ import annotations

import time
from wsgiref.types import WSGIEnvironment

from flask import Flask

from billtrack import http, limits
from billtrack.access import Principal
from billtrack.express.answers import Answer, Refusal
from billtrack.limits import Budget

Sent = tuple[str, list[tuple[str, str]], bytes]
"""Status line, headers and body."""


class Sender:
    """Sends what the routes of the app would send."""

    def __init__(self, app: Flask, *, secure: bool) -> None:
        self._app = app
        self._headers = http.api_headers(secure=secure)

    def send(self, answer: Answer | Refusal, environ: WSGIEnvironment, started: float) -> Sent:
        """Return the answer to a request that `started` then, by time.perf_counter()."""
        if isinstance(answer, Refusal):
            return self.refuse(answer.error, environ, answer.who)
        request_id = http.choose_request_id(environ.get("HTTP_X_REQUEST_ID", ""))
        headers = [
            ("Content-Type", "application/json"),
            ("Content-Length", str(len(answer.body))),
            *([("Location", answer.location)] if answer.location else ()),
            *self._headers,
            *limits.headers(Budget.USAGE, answer.who.payer(Budget.USAGE)),
            ("X-Request-Id", request_id),
        ]
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
        return answer.status, headers, answer.body

    def refuse(
        self, error: Exception, environ: WSGIEnvironment, who: Principal | None = None
    ) -> Sent:
        """Let the framework word the error; this is rare."""
        ids = {"user_id": who.user_id, "key_id": who.api_key_id} if who else {}
        response = http.answer_outside(self._app, environ, error, ids)
        return (
            response.status,
            response.get_wsgi_headers(environ).to_wsgi_list(),
            response.get_data(),
        )
