"""Server adapter (ASGI): runs the fast path, or a WSGI application in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, Protocol
from wsgiref.types import WSGIApplication, WSGIEnvironment

import structlog

from billtrack.entrypoints.server.bodies import BODY_SECONDS, Body, BodyMemory, Deadlines
from billtrack.entrypoints.server.channel import Channel, Receive, Send
from billtrack.entrypoints.server.environ import Scope, make_environ
from billtrack.platform import streaming
from billtrack.platform.streaming import NobodyReads

log = structlog.get_logger(__name__)

Headers = list[tuple[str, str]]
Answer = tuple[str, Headers, bytes]
"""Status line, headers and body."""

FastPath = Callable[[WSGIEnvironment, Body], Awaitable[Answer | None]]
"""Answers a request, or returns None and leaves it to the application."""

THREADS = 256
"""Most of them only wait for slow readers: WORKING_THREADS work at a time."""


class Gate(Protocol):
    """Decides from the head of a request how much of its body is read."""

    def prepare(self, environ: WSGIEnvironment) -> None:
        """Put in what trusted proxies forward."""

    async def body_limit(self, environ: WSGIEnvironment, length: int | None) -> int:
        """Return the most bytes to read; with 0 the application refuses without reading.

        `length` is what will come, None where nobody knows.
        """

    def refuse(self, environ: WSGIEnvironment, error: Exception) -> Answer:
        """Log what kept the request from the application, and return the answer to it."""


class ServerAdapter:
    """Asks the fast path first, then the application."""

    def __init__(
        self,
        app: WSGIApplication,
        gate: Gate,
        fast_path: FastPath | None = None,
        *,
        body_memory: int,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._gate = gate
        self._fast_path = fast_path
        self._memory = BodyMemory(body_memory)
        self._deadlines = Deadlines(body_seconds)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. A client that has gone gets no answer and ends nothing."""
        environ, channel = make_environ(scope), Channel(receive, send)
        body = Body(environ, channel, self._memory, self._deadlines)
        try:
            try:
                self._gate.prepare(environ)
                answer = await self._answer(environ, body, channel)
            except Exception as error:  # noqa: BLE001 (answered and logged as in the routes)
                answer = self._gate.refuse(environ, error)
            if answer is not None:
                await _send(channel, answer, close=body.is_awaited)
            if body.is_awaited:
                await body.drain()
        finally:
            body.release()
            channel.close()

    async def _answer(
        self, environ: WSGIEnvironment, body: Body, channel: Channel
    ) -> Answer | None:
        """Return the answer; None once it was sent piece by piece."""
        answer = await self._fast_path(environ, body) if self._fast_path else None
        if answer is not None:
            return answer
        if body.is_awaited:
            await self._read(environ, body)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._run, environ, channel, loop)

    async def _read(self, environ: WSGIEnvironment, body: Body) -> None:
        limit = await self._gate.body_limit(environ, body.length)
        if limit:
            await body.read(limit)
        else:
            body.leave_unread()

    def _run(
        self, environ: WSGIEnvironment, channel: Channel, loop: asyncio.AbstractEventLoop
    ) -> Answer | None:
        begun = _Begun()
        pieces: Iterable[bytes] = ()
        try:
            pieces = self._app(environ, begun)
            rest = iter(pieces)
            first, second = next(rest, b""), next(rest, None)
            if second is None:
                return begun.status, begun.headers, begun.written + first
            _stream(chain((begun.written, first, second), rest), begun, channel, loop)
        finally:
            getattr(pieces, "close", _nothing)()
        return None


def _stream(
    pieces: Iterable[bytes], begun: _Begun, channel: Channel, loop: asyncio.AbstractEventLoop
) -> None:
    def start(path: str) -> None:
        asyncio.run_coroutine_threadsafe(_send_file(channel, begun, path), loop).result()

    try:
        streaming.send(pieces, start)
    except NobodyReads:
        log.debug("client_gone")


class _Begun:
    """Status and headers of an answer; called as `start_response` (PEP 3333)."""

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


async def _send(channel: Channel, answer: Answer, *, close: bool) -> None:
    status, headers, body = answer
    await channel.send(_start(status, [*headers, ("Connection", "close")] if close else headers))
    await channel.send({"type": "http.response.body", "body": body})


async def _send_file(channel: Channel, begun: _Begun, path: str) -> None:
    await channel.send(_start(begun.status, begun.headers))
    await channel.send({"type": "http.response.pathsend", "path": path})


def _start(status: str, headers: Headers) -> dict[str, Any]:
    return {
        "type": "http.response.start",
        "status": int(status[:3]),
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
    }


def _nothing() -> None:
    """Close what need not be closed."""
