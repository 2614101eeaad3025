"""Storing and finding records in SQLite for an event loop: a thread writes, the loop reads.

As one writes at a time there, more threads would only wait for each other. A record is found
in less time than it takes to wake a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from flask import Flask

from billtrack.entrypoints.server.fast_path import reading, recording
from billtrack.platform.engines import loop_reading_engine
from billtrack.platform.extensions import db
from billtrack.platform.group_commit import Gathering
from billtrack.usage.ingest import intake
from billtrack.usage.records import lookup


class ByThreads:
    """Stores and finds records for one event loop."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._reader = loop_reading_engine(db.engine)
        self._storing = Gathering(self._store, at_most=intake.AT_ONCE)
        self._finding = Gathering(self._find, at_most=lookup.AT_ONCE)

    async def record(self, asked: recording.Asked) -> recording.Done | None:
        """Store the record; None where nothing is stored."""
        return await self._storing.ask(asked)

    async def read(self, asked: reading.Asked) -> reading.Found | None:
        """Return the record, where it is there and whoever asks may see it."""
        return await self._finding.ask(asked)

    async def close(self) -> None:
        """End the thread and close the connection."""
        self._writer.shutdown()
        self._reader.dispose()

    async def _store(self, group: Sequence[recording.Asked]) -> Sequence[recording.Done | None]:
        def store() -> Sequence[recording.Done | None]:
            with self._app.app_context():
                return recording.record_together(group)

        return await asyncio.get_running_loop().run_in_executor(self._writer, store)

    async def _find(self, group: Sequence[reading.Asked]) -> Sequence[reading.Found | None]:
        return reading.read_together(group, engine=self._reader)
