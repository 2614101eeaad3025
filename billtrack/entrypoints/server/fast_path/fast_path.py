"""The shortest way: single records inside the event loop, before any thread is asked."""

from __future__ import annotations

import time
from wsgiref.types import WSGIEnvironment

from flask import Flask

from billtrack.entrypoints.server.bodies import Body
from billtrack.entrypoints.server.fast_path import reading, recording
from billtrack.entrypoints.server.fast_path.answers import Answer, Refusal
from billtrack.entrypoints.server.fast_path.plain_requests import (
    LONGEST_BODY,
    has_plain_body,
    plain_secret,
)
from billtrack.entrypoints.server.fast_path.postgresql import AtOnce
from billtrack.entrypoints.server.fast_path.sending import Sender, Sent
from billtrack.entrypoints.server.fast_path.sqlite import ByThreads
from billtrack.platform.async_connection import LoopConnection
from billtrack.platform.config import LOOP_CONNECTIONS, Settings
from billtrack.platform.driver import is_postgresql
from billtrack.platform.engines import Use
from billtrack.platform.extensions import db
from billtrack.platform.request_head import is_sound


def loop_lane(app: Flask, *, statement_seconds: int | None = None) -> LoopLane | None:
    """Return the lane for the app, or None where each statement may meet another connection.

    PgBouncer in transaction mode keeps no limits and no plans for whoever asks.
    """
    settings: Settings = app.extensions["billtrack.settings"]
    if settings.pgbouncer:
        return None
    with app.app_context():
        if not is_postgresql():
            return LoopLane(app, ByThreads(app), settings)
        connection = LoopConnection(db.engine, Use(LOOP_CONNECTIONS, statement_seconds))
        return LoopLane(app, AtOnce(app, connection), settings)


class LoopLane:
    """Answers the plain requests for usage records of one event loop."""

    def __init__(self, app: Flask, store: AtOnce | ByThreads, settings: Settings) -> None:
        self.store = store
        self._app = app
        self._sender = Sender(app, secure=settings.is_secure)

    async def __call__(self, environ: WSGIEnvironment, body: Body) -> Sent | None:
        """Return the answer; None, having stored nothing, where the application has to decide.

        The body can still be read then.
        """
        record_id = reading.wanted_id(environ)
        if record_id is None and not recording.is_wanted(environ):
            return None
        with self._app.app_context():
            try:
                secret = plain_secret(environ) if is_sound(environ) else None
                if secret is None or not await _arrives(environ, body):
                    return None
                started = time.perf_counter()
                answer = await self._answer(environ, record_id, secret)
            except Exception as error:  # noqa: BLE001 (answered and logged as the routes do)
                return self._sender.refuse(error, environ)
            return self._sender.send(answer, environ, started) if answer else None

    async def close(self) -> None:
        """Let go of the database."""
        await self.store.close()

    async def _answer(
        self, environ: WSGIEnvironment, record_id: int | None, secret: str
    ) -> Answer | Refusal | None:
        if record_id is not None:
            wanted = reading.read_request(environ, record_id, secret)
            found = await self.store.read(wanted) if wanted else None
            return reading.answer(found) if found else None
        asked = recording.read_request(environ, secret)
        done = await self.store.record(asked) if asked else None
        return recording.answer(asked, done) if asked and done else None


async def _arrives(environ: WSGIEnvironment, body: Body) -> bool:
    """Read the body, if there is one and its head is plain."""
    if not body.is_awaited:
        return True
    if not has_plain_body(environ):
        return False
    await body.read(LONGEST_BODY)
    return True
