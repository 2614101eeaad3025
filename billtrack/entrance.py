"""The way in: Granian hands each request to an event loop (RSGI), and most go on in threads.

The loop reads the body, so that nobody works on a request that has not arrived, however slowly
it is sent. Then a short way may answer within the loop; all else runs as a WSGI application in
a thread, which stays until the answer is read.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from io import BytesIO
from itertools import chain
from typing import Any, BinaryIO
from wsgiref.types import WSGIApplication, WSGIEnvironment

import structlog
from granian import rsgi
from werkzeug.wsgi import FileWrapper

from billtrack import streaming
from billtrack.http import MAX_BODY
from billtrack.streaming import NobodyReads

GONE = (rsgi.ProtocolClosed, rsgi.ProtocolError)  # type: ignore[attr-defined]  # made in Rust

log = structlog.get_logger(__name__)

Headers = list[tuple[str, str]]
Answer = tuple[str, Headers, bytes]
"""Status line, headers and body."""

ShortWay = Callable[[WSGIEnvironment], Awaitable[Answer | None]]
"""Answers a request, or returns None and leaves it as it was."""

THREADS = 256
"""Most of them only wait for slow readers: WORKING_THREADS work at a time."""

CHUNK = 64 * 1024
"""Bytes of a file that are sent at a time."""

_CUT_BODY: Answer = ("400 Bad Request", [], b"")
_SERVER_ERROR: Answer = ("500 Internal Server Error", [("Content-Type", "text/plain")], b"")


class Entrance:
    """An RSGI application: `short_way` is asked first, then `app`."""

    def __init__(self, app: WSGIApplication, short_way: ShortWay | None) -> None:
        self._app = app
        self._short_way = short_way
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="request")

    async def __rsgi__(self, scope: rsgi.Scope, protocol: Any) -> None:
        """Answer a request; whoever has gone is answered no more."""
        try:
            environ = make_environ(scope)
            if _has_body(environ):
                try:
                    environ["wsgi.input"] = BytesIO(await protocol())
                except GONE:  # half of an import must not be taken for all
                    _send(protocol, _CUT_BODY)
                    return
            answer = await self._short_way(environ) if self._short_way else None
            if answer is None:
                answer = await self._ask_app(environ, protocol)
            if answer is not None:
                _send(protocol, answer)
        except GONE:
            log.debug("client_gone")

    async def _ask_app(self, environ: WSGIEnvironment, protocol: Any) -> Answer | None:
        """Return the answer of the app, or None once it was sent piece by piece."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._run, environ, protocol)

    def _run(self, environ: WSGIEnvironment, protocol: Any) -> Answer | None:
        begun = _Begun()
        pieces: Iterable[bytes] = ()
        try:
            pieces = self._app(environ, begun)
            rest = iter(pieces)
            first, second = next(rest, b""), next(rest, None)
            if second is None:
                return begun.status, begun.headers, begun.written + first
        except Exception:  # the app answers its own errors: this is one of the server
            log.exception("request_failed")
            return _SERVER_ERROR
        else:
            _stream(chain((begun.written, first, second), rest), begun, protocol)
        finally:
            getattr(pieces, "close", _nothing)()
        return None


def _stream(pieces: Iterable[bytes], begun: _Begun, protocol: Any) -> None:
    code = _code(begun.status)
    try:
        streaming.send(pieces, lambda path: protocol.response_file(code, begun.headers, path))
    except NobodyReads:
        log.debug("client_gone")


class _Begun:
    """What an application says before it answers; called as `start_response`."""

    def __init__(self) -> None:
        self.status = ""
        self.headers: Headers = []
        self.written = b""

    def __call__(
        self, status: str, headers: Headers, _error: object = None, /
    ) -> Callable[[bytes], object]:
        self.status, self.headers = status, headers
        return self._write

    def _write(self, piece: bytes) -> None:
        self.written += piece


def make_environ(scope: rsgi.Scope) -> WSGIEnvironment:
    """Return what a WSGI application is told of the request (PEP 3333), without its body.

    Names of headers with an underscore are left out: they would read like those with a dash.
    """
    server, port = _host_and_port(scope.server)
    environ: WSGIEnvironment = {
        **_SAME,
        "REQUEST_METHOD": scope.method,
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string.encode().decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "SERVER_NAME": server,
        "SERVER_PORT": port,
        "REMOTE_ADDR": _host_and_port(scope.client)[0],
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": BytesIO(),
    }
    for name, value in scope.headers.items():
        key = _key_of(name)
        if key in environ:
            environ[key] += (";" if key == "HTTP_COOKIE" else ",") + value
        elif key:
            environ[key] = value
    return environ


def _host_and_port(name: str) -> tuple[str, str]:
    """Take apart what names one end of a connection; IPv6 is in brackets there."""
    host, _, port = name.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), port


def _wrap_file(file: BinaryIO, _size: int = CHUNK) -> Iterator[bytes]:
    return FileWrapper(file, CHUNK)


_SAME: WSGIEnvironment = {
    "SCRIPT_NAME": "",
    "SERVER_SOFTWARE": "Granian",
    "wsgi.version": (1, 0),
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": True,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
    "wsgi.file_wrapper": _wrap_file,
}


@lru_cache(maxsize=1000)
def _key_of(name: str) -> str:
    """Return how the environ names a header, an empty text for one that it does not know."""
    if "_" in name:
        return ""
    key = name.upper().replace("-", "_")
    return key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"


def _has_body(environ: WSGIEnvironment) -> bool:
    """Tell whether there is a body to be read: not of a request that is refused unread."""
    if "HTTP_TRANSFER_ENCODING" in environ:
        return False
    return 0 < int(environ.get("CONTENT_LENGTH") or 0) <= MAX_BODY


def _send(protocol: Any, answer: Answer) -> None:
    status, headers, body = answer
    if body:
        protocol.response_bytes(_code(status), headers, body)
    else:
        protocol.response_empty(_code(status), headers)


def _code(status: str) -> int:
    return int(status[:3])


def _nothing() -> None:
    """Close what need not be closed."""
