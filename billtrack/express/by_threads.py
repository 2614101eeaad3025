"""What the loop lets threads ask SQLite: one that writes for all, and one that reads for all.

As one writes at a time there, more of them would only wait for each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from flask import Flask

from billtrack.express import reading, recording
from billtrack.gathering import Gathering
from billtrack.usage import intake, lookup

T = TypeVar("T")
R = TypeVar("R")


class ByThreads:
    """Stores and finds records for one event loop."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._storing = Gathering(self._store, at_most=intake.AT_ONCE)
        self._finding = Gathering(self._find, at_most=lookup.AT_ONCE)

    async def record(self, asked: recording.Asked) -> recording.Done | None:
        """Store the record; None where nothing is stored."""
        return await self._storing.ask(asked)

    async def read(self, asked: reading.Asked) -> reading.Found | None:
        """Return the record, where it is there and whoever asks may see it."""
        return await self._finding.ask(asked)

    async def close(self) -> None:
        """End the threads."""
        self._writer.shutdown()
        self._reader.shutdown()

    async def _store(self, group: Sequence[recording.Asked]) -> Sequence[recording.Done | None]:
        return await self._run(self._writer, recording.record_together, group)

    async def _find(self, group: Sequence[reading.Asked]) -> Sequence[reading.Found | None]:
        return await self._run(self._reader, reading.read_together, group)

    async def _run(
        self,
        thread: ThreadPoolExecutor,
        run: Callable[[Sequence[T]], Sequence[R]],
        group: Sequence[T],
    ) -> Sequence[R]:
        def run_in_context() -> Sequence[R]:
            with self._app.app_context():
                return run(group)

        return await asyncio.get_running_loop().run_in_executor(thread, run_in_context)
