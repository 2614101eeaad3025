"""Do together what several requests of an event loop ask for at the same moment.

While one group is done the next one gathers. Who is alone waits for nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from billtrack.core.errors import UnavailableError

T = TypeVar("T")
R = TypeVar("R")

PATIENCE_SECONDS = 30.0

GATHER_SECONDS = 0.001
"""How long a group waits for those who were in the one before: just answered, they ask again.

Much of what a group costs is the same for one and for twenty.
"""

_Request = tuple[T, "asyncio.Future[R]", float]
"""What is asked, where the answer goes, and when it was asked, in seconds of a steady clock."""


class GaveUpWaiting(UnavailableError):
    """The request waited too long for its turn and was withdrawn; nothing of it was done."""

    code = "unavailable"


class Gathering(Generic[T, R]):
    """Runs `run` with all that waits, at most `at_most` of it, in the order of asking.

    `run` returns a result for each; when it raises, each who asked gets the error.
    """

    def __init__(
        self, run: Callable[[Sequence[T]], Awaitable[Sequence[R]]], *, at_most: int
    ) -> None:
        self._run = run
        self._at_most = at_most
        self._waiting: list[_Request[T, R]] = []
        self._working: asyncio.Task[None] | None = None
        self._enough: asyncio.Future[None] | None = None
        self._last_size = 0

    async def ask(self, item: T) -> R:
        """Return the result for the item, or raise what `run` raised.

        Raises GaveUpWaiting when its turn did not come for PATIENCE_SECONDS.
        """
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, answer, time.monotonic()))
        if self._working is None:
            self._working = loop.create_task(self._work())
        elif self._enough is not None and len(self._waiting) >= self._last_size:
            self._begin()
        return await answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                if len(self._waiting) < self._last_size:
                    await self._gather()
                taken = self._waiting[: self._at_most]
                del self._waiting[: self._at_most]
                self._last_size = len(taken)
                await self._do(taken)
        finally:
            self._working = None

    async def _gather(self) -> None:
        """Wait a moment until as many ask as did the last time."""
        loop = asyncio.get_running_loop()
        self._enough = loop.create_future()
        timer = loop.call_later(GATHER_SECONDS, self._begin)
        await self._enough
        timer.cancel()

    def _begin(self) -> None:
        """Let the group begin that is waiting for others."""
        if self._enough is not None:
            self._enough.set_result(None)
            self._enough = None

    async def _do(self, taken: Sequence[_Request[T, R]]) -> None:
        in_time = [one for one in taken if _is_in_time(one)]
        if not in_time:
            return
        try:
            results = await self._run([item for item, _, _ in in_time])
        except Exception as error:  # noqa: BLE001 (each who asked raises it)
            for _, answer, _ in in_time:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer, _), result in zip(in_time, results, strict=True):
            if not answer.done():  # whoever asked may have gone
                answer.set_result(result)


def _is_in_time(request: _Request[T, R]) -> bool:
    _, answer, asked_at = request
    if answer.done():  # gone before its turn came
        return False
    if time.monotonic() - asked_at < PATIENCE_SECONDS:
        return True
    answer.set_exception(GaveUpWaiting("Too much is asked for at once. Try again in a moment."))
    return False
