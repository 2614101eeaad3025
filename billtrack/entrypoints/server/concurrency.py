"""Work on few requests at a time: as many as have a database connection.

There are many threads to send answers, which cost little while a client reads slowly.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from billtrack.platform.config import WORKING_THREADS


class Places:
    """A WSGI application that is called WORKING_THREADS times at once, no more."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._working = threading.BoundedSemaphore(WORKING_THREADS)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Wait for a place, then answer."""
        with self._working:
            return self._app(environ, start_response)
