"""Let slow clients wait by themselves: nobody works on a request that has not arrived.

The server gives a thread to each request, and reading a body ends only when the client has
sent it. So there are many threads to read, which cost little while they wait, and few at a
time to work: as many as have a database connection. An answer is sent after the work.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from io import BytesIO
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from billtrack.config import WORKING_THREADS
from billtrack.http import MAX_BODY


class BodyFirst:
    """A WSGI application that is called only once the whole body has arrived."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Read the body, then answer."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        is_refused = length > MAX_BODY or "HTTP_TRANSFER_ENCODING" in environ  # unread
        if length and not is_refused:
            body: bytes = environ["wsgi.input"].read(length)
            if len(body) < length:
                return _refuse_cut_body(start_response)
            environ["wsgi.input"] = BytesIO(body)
        return self._app(environ, start_response)


class Places:
    """A WSGI application that is called WORKING_THREADS times at once, no more."""

    def __init__(self, app: WSGIApplication) -> None:
        self._app = app
        self._working = threading.BoundedSemaphore(WORKING_THREADS)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Wait for a place, then answer."""
        with self._working:
            return self._app(environ, start_response)


def _refuse_cut_body(start_response: StartResponse) -> list[bytes]:
    """Answer whoever went away while sending: half of an import must not be taken for all."""
    start_response("400 Bad Request", [("Content-Length", "0")])
    return [b""]
