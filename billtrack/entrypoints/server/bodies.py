"""Request bodies: read within limits of size, time and memory, or left unread.

A body is complete before anything works on it, so a slow upload never occupies a worker thread.
"""

from __future__ import annotations

import asyncio
import io
import time
from contextlib import suppress
from itertools import takewhile
from typing import Any
from wsgiref.types import WSGIEnvironment

from werkzeug.exceptions import BadRequest, RequestTimeout, ServiceUnavailable

from billtrack.entrypoints.server.channel import Channel
from billtrack.platform.request_head import MAX_BODY, too_large

BODY_SECONDS = 60.0
"""From the head of a request to the end of its body."""

MIB = 1024 * 1024

TICKS = 20
"""How often in the time for a body to look for late ones."""

DRAIN_SECONDS, DRAIN_PAUSE_SECONDS = 2.0, 0.25
"""How long an answered request may go on sending, and how long it may pause.

Most clients read no answer before they have sent all.
"""


class BodyMemory:
    """Memory that the bodies of one process take up, with a limit. For one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held = 0

    def take(self, size: int) -> None:
        """Count `size` bytes more; raises ServiceUnavailable above the limit."""
        if self._held + size > self._most:
            raise ServiceUnavailable(
                "Too many request bodies arrive at once. Send this again in a moment."
            )
        self._held += size

    def give_back(self, size: int) -> None:
        """Count `size` bytes less."""
        self._held -= size


class Deadlines:
    """Cancels what reads a body for too long. For one event loop.

    One timer serves all bodies, as a timer for each would cost as much as reading it.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._reading: dict[Body, tuple[float, asyncio.Task[Any]]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, body: Body) -> None:
        """Let the current task read the body for so many seconds, then cancel it."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        if task is not None:
            self._reading[body] = loop.time() + self.seconds, task
        if self._timer is None:
            self._timer = loop.call_later(self.seconds / TICKS, self._tick, loop)

    def end(self, body: Body) -> bool:
        """Tell whether the body came in time."""
        return self._reading.pop(body, None) is not None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        """Cancel what is late; all have the same time, so the first ones end first."""
        now = loop.time()
        late = list(takewhile(lambda body: self._reading[body][0] <= now, self._reading))
        for body in late:
            self._reading.pop(body)[1].cancel()
        self._timer = None
        if self._reading:
            self._timer = loop.call_later(self.seconds / TICKS, self._tick, loop)


class Body:
    """The body of one request: read once, up to a limit, or not at all."""

    def __init__(
        self,
        environ: WSGIEnvironment,
        channel: Channel,
        memory: BodyMemory,
        deadlines: Deadlines,
    ) -> None:
        self._environ = environ
        self._channel = channel
        self._memory = memory
        self._deadlines = deadlines
        self._size = 0
        self.length = _take_length(environ)
        """Bytes that will come; None where they come in chunks."""
        self.is_awaited = self.length != 0
        """Whether the client sends a body that was not read to its end."""

    async def read(self, limit: int) -> None:
        """Put the body, at most `limit` bytes, into the environ; chunks are joined.

        Raises RequestEntityTooLarge, RequestTimeout, BadRequest where it ends early, and
        ServiceUnavailable where memory is short.
        """
        if self.length is not None and self.length > limit:
            raise too_large(limit)
        self._deadlines.begin(self)
        try:
            self._environ["wsgi.input"] = await self._read_pieces(limit)
        except asyncio.CancelledError as error:
            if self._deadlines.end(self):  # the server stops
                raise
            seconds = f"{self._deadlines.seconds:g} seconds"
            text = f"The body did not arrive within {seconds}. Send it again."
            raise RequestTimeout(text) from error
        finally:
            self._deadlines.end(self)
        self.is_awaited = False
        self._environ["CONTENT_LENGTH"] = str(self._size)

    def leave_unread(self) -> None:
        """Let nobody take an unread body for an empty one."""
        self._environ["wsgi.input"] = _Unread()

    async def drain(self) -> None:
        """Read and forget what a client still sends after its answer, for a moment."""
        ends_at, left = time.monotonic() + DRAIN_SECONDS, 2 * MAX_BODY
        with suppress(TimeoutError):
            while left > 0 and time.monotonic() < ends_at:
                async with asyncio.timeout(DRAIN_PAUSE_SECONDS):
                    message = await self._channel.receive()
                left -= len(message.get("body", b""))
                if not message.get("more_body"):
                    return

    def release(self) -> None:
        """Count the body as gone."""
        self._memory.give_back(self._size)
        self._size = 0

    async def _read_pieces(self, limit: int) -> io.BytesIO:
        piece, more = await self._next(limit)
        body = io.BytesIO(piece)
        body.seek(0, io.SEEK_END)
        while more and self._size != self.length:
            piece, more = await self._next(limit)
            body.write(piece)
        body.seek(0)
        return body

    async def _next(self, limit: int) -> tuple[bytes, bool]:
        """Return the next piece, and whether more may follow."""
        message = await self._channel.receive()
        if message["type"] != "http.request":
            raise BadRequest("The body ended early.")
        piece: bytes = message["body"]
        if self._size + len(piece) > limit:
            raise too_large(limit)
        self._memory.take(len(piece))
        self._size += len(piece)
        return piece, message["more_body"]


class _Unread(io.RawIOBase):
    """Stands for a body that was refused by the head of its request."""

    def readable(self) -> bool:
        """Tell that it can be asked."""
        return True

    def readinto(self, _buffer: Any, /) -> int:
        """Raise ServiceUnavailable: the refusal did not hold, so the client has to try again."""
        raise ServiceUnavailable("The body was not read. Send the request again.")


def _take_length(environ: WSGIEnvironment) -> int | None:
    """Return how many bytes will come, None for chunks, which the application need not know of."""
    if environ.get("HTTP_TRANSFER_ENCODING", "").strip().lower() == "chunked":
        del environ["HTTP_TRANSFER_ENCODING"]
        environ.pop("CONTENT_LENGTH", None)
        return None
    return int(environ.get("CONTENT_LENGTH") or 0)
