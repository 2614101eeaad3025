"""The web with an event loop before it, as it is served."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any, TypeVar
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
from apiflask import APIFlask

from billtrack.accounts.credentials.api_keys import find_together
from billtrack.entrypoints.server.bodies import Body, BodyMemory, Deadlines
from billtrack.entrypoints.server.channel import Channel
from billtrack.entrypoints.server.fast_path.fast_path import LoopLane, loop_lane
from billtrack.platform.db import end_read
from billtrack.platform.request_head import MAX_BODY
from billtrack.usage.records.meters import known_meters, meter_ids
from tests.cast import Cast, Member

T = TypeVar("T")


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what comes of the work; threads may ask at once."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()


class LoopFirst:
    """A WSGI application that asks the lane in the loop first, then the application behind it."""

    def __init__(self, app: APIFlask, lane: LoopLane, loop: Loop) -> None:
        self.statuses: list[int] = []
        """What was answered in the loop."""
        self.lane = lane
        self._loop = loop
        self._otherwise = app.wsgi_app

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        sent = self._loop.run(self.lane(environ, _body(environ)))
        if sent is None:
            return self._otherwise(environ, start_response)
        status, headers, body = sent
        self.statuses.append(int(status[:3]))
        start_response(status, headers)
        return [body]


def _body(environ: WSGIEnvironment) -> Body:
    """Return the body as a server would hand it over, piece by piece."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": environ["wsgi.input"].read(), "more_body": False}

    async def send(_message: dict[str, Any]) -> None:
        """Take nothing: the lane returns its answer."""

    return Body(environ, Channel(receive, send), BodyMemory(MAX_BODY), Deadlines(5))


def members(cast: Cast) -> list[Member]:
    return [getattr(cast, field.name) for field in fields(cast)]


def see(cast: Cast) -> None:
    """Let the process have met all keys of the cast, and all events."""
    find_together([member.key for member in members(cast)])
    known_meters().update(meter_ids())
    end_read()


@contextmanager
def before(app: APIFlask) -> Iterator[LoopFirst]:
    """Put a loop before the app."""
    loop = Loop()
    lane = loop_lane(app)
    if lane is None:
        raise RuntimeError("this app has no lane in the loop")
    try:
        with pytest.MonkeyPatch.context() as patch:
            first = LoopFirst(app, lane, loop)
            patch.setattr(app, "wsgi_app", first)
            yield first
    finally:
        loop.run(lane.close())
        loop.close()
