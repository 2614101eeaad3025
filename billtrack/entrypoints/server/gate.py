"""Gate: what the head of a request decides before its body is read.

The application makes the same checks. It words and logs the refusal that the gate hands over.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from wsgiref.types import WSGIEnvironment

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from billtrack.accounts import access
from billtrack.core.errors import BilltrackError
from billtrack.entrypoints.server.adapter import Answer
from billtrack.platform import http, limits
from billtrack.platform.config import Settings
from billtrack.platform.request_head import MAX_SMALL_BODY, body_limit, require_sound_head

VETTING_THREADS = 2
"""Each may use one of the database connections that WEB_CONNECTIONS has to spare."""


class AppGate:
    """Checks headers, host, length, route and the form of the credential.

    A body over MAX_SMALL_BODY is read only if its credential holds: such a body costs memory.
    """

    def __init__(self, app: Flask) -> None:
        settings: Settings = app.extensions["billtrack.settings"]
        self._app = app
        self._trust_proxies = http.behind_proxies(_nothing, settings.proxy_hops)
        self._vetting = ThreadPoolExecutor(VETTING_THREADS, thread_name_prefix="vetting")

    def prepare(self, environ: WSGIEnvironment) -> None:
        """Put in what trusted proxies forward. The application does the same, to the same."""
        self._trust_proxies(environ, _nothing)

    async def body_limit(self, environ: WSGIEnvironment, length: int | None) -> int:
        """Return the most bytes to read; 0 where the application refuses without reading."""
        if environ["REQUEST_METHOD"] in access.SAFE_METHODS:
            return 0
        try:
            with self._app.app_context():
                limit = self._check_head(environ)
                costs_memory = _costs_memory(environ, limit, length)
            if costs_memory:
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._vetting, self._check_credential, environ)
        except (BilltrackError, HTTPException, SQLAlchemyError) as error:
            environ[access.REFUSED] = error.with_traceback(None)
            return 0
        return limit

    def refuse(self, environ: WSGIEnvironment, error: Exception) -> Answer:
        """Log what kept the request from the application, and return the answer to it."""
        response = http.answer_outside(self._app, environ, error, {})
        headers = response.get_wsgi_headers(environ).to_wsgi_list()
        return response.status, headers, response.get_data()

    def _check_head(self, environ: WSGIEnvironment) -> int:
        request = self._app.request_class(environ)
        endpoint, _ = self._app.url_map.bind_to_environ(environ).match()
        require_sound_head(request, endpoint)
        access.require_credential(request, endpoint)
        return body_limit(endpoint)

    def _check_credential(self, environ: WSGIEnvironment) -> None:
        with self._app.request_context({**environ}):
            access.authenticate()


def _costs_memory(environ: WSGIEnvironment, limit: int, length: int | None) -> bool:
    """Tell whether a large body may come by a credential that this process has not seen."""
    if limit <= MAX_SMALL_BODY or (length is not None and length <= MAX_SMALL_BODY):
        return False
    return environ.get("HTTP_AUTHORIZATION", "") not in limits.known()


def _nothing(*_given: Any) -> Any:
    """Answer nothing, as an application that only lets others change the environ."""
    return ()
