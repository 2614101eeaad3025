"""The short way as a WSGI application, with the long one behind it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from flask import Flask

from billtrack import access, request_head
from billtrack.express import reading, recording
from billtrack.express.answers import Answer, Refusal
from billtrack.express.plain import plain_secret
from billtrack.express.sending import Sender, Sent


class ExpressLane:
    """Answers the plain requests for usage records; `otherwise` answers all others."""

    def __init__(self, app: Flask, otherwise: WSGIApplication, *, secure: bool) -> None:
        self._app = app
        self._otherwise = otherwise
        self._sender = Sender(app, secure=secure)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer, with or without the framework."""
        with self._app.app_context():
            sent = self._try(environ)
        if sent is None:
            return self._otherwise(environ, start_response)
        status, headers, body = sent
        start_response(status, headers)
        return [body]

    def _try(self, environ: WSGIEnvironment) -> Sent | None:
        started = time.perf_counter()
        try:
            answer = _answer(environ)
        except Exception as error:  # noqa: BLE001 (answered and logged as the routes do)
            return self._sender.refuse(error, environ)
        return self._sender.send(answer, environ, started) if answer else None


def _answer(environ: WSGIEnvironment) -> Answer | Refusal | None:
    if access.REFUSED in environ or not request_head.is_sound(environ):
        return None
    record_id = reading.wanted_id(environ)
    if record_id is None and not recording.is_wanted(environ):
        return None
    secret = plain_secret(environ)
    if secret is None:
        return None
    if record_id is None:
        return recording.record(environ, secret)
    return reading.read(environ, record_id, secret)
