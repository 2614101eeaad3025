"""How an answer of the short way leaves: its headers, and what is told of it."""

from __future__ import annotations

import time
from wsgiref.types import WSGIEnvironment

from flask import Flask

from billtrack.accounts.access import Principal
from billtrack.entrypoints.server.fast_path.answers import Answer, Refusal
from billtrack.platform import http, limits
from billtrack.platform.limits import Budget
from billtrack.platform.metrics.counting import count_request

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
        # No log line: it would take as long as the rest. Each record is a row, and counted.
        count_request(
            method=environ["REQUEST_METHOD"],
            route=answer.route,
            status=int(answer.status[:3]),
            seconds=time.perf_counter() - started,
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
