"""What requests of a loop ask for at the same moment is done together, and answered one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from billtrack.platform import group_commit
from billtrack.platform.group_commit import Gathering, GaveUpWaiting


class Desk:
    """A gathering whose first group is held until the gate opens."""

    def __init__(self, *, at_most: int = 100) -> None:
        self.groups: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gathering: Gathering[int, int] = Gathering(self._run, at_most=at_most)

    async def _run(self, items: Sequence[int]) -> list[int]:
        self.groups.append(list(items))
        await self.gate.wait()
        if any(item < 0 for item in items):
            raise ValueError(items)
        return [10 * item for item in items]

    async def ask_at_once(self, *items: int) -> list[asyncio.Task[int]]:
        """Ask for all of them, in order; return when each has asked."""
        asked = [asyncio.create_task(self.gathering.ask(item)) for item in items]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return asked


def test_it_does_together_what_gathers_while_another_runs() -> None:
    async def run() -> None:
        desk = Desk(at_most=3)
        first = await desk.ask_at_once(1)
        others = await desk.ask_at_once(2, 3, 4, 5)
        desk.gate.set()
        assert await asyncio.gather(*first, *others) == [10, 20, 30, 40, 50]
        assert desk.groups == [[1], [2, 3, 4], [5]]
        assert await desk.gathering.ask(6) == 60

    asyncio.run(run())


def test_it_tells_each_of_a_group_that_it_failed_and_goes_on() -> None:
    async def run() -> None:
        desk = Desk()
        first = await desk.ask_at_once(1)
        others = await desk.ask_at_once(2, -3)
        desk.gate.set()
        found = await asyncio.gather(*first, *others, return_exceptions=True)
        assert found[0] == 10
        assert [type(one) for one in found[1:]] == [ValueError, ValueError]
        assert await desk.gathering.ask(4) == 40

    asyncio.run(run())


def test_it_waits_a_moment_for_those_who_were_together(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        desk = Desk()
        first = await desk.ask_at_once(1)
        others = await desk.ask_at_once(2, 3)
        monkeypatch.setattr(group_commit, "GATHER_SECONDS", 600)
        desk.gate.set()
        await asyncio.gather(*first, *others)
        again = await desk.ask_at_once(4)
        assert desk.groups == [[1], [2, 3]]
        again += await desk.ask_at_once(5)
        assert await asyncio.gather(*again) == [40, 50]
        assert desk.groups == [[1], [2, 3], [4, 5]]
        monkeypatch.setattr(group_commit, "GATHER_SECONDS", 0.01)
        assert await desk.gathering.ask(6) == 60

    asyncio.run(run())


def test_it_does_nothing_for_whoever_has_gone() -> None:
    async def run() -> None:
        desk = Desk()
        (first,) = await desk.ask_at_once(1)
        gone, stays = await desk.ask_at_once(2, 3)
        gone.cancel()
        await asyncio.sleep(0)
        first.cancel()  # its turn has come: it is done, and told nobody
        desk.gate.set()
        assert await stays == 30
        assert desk.groups == [[1], [3]]

    asyncio.run(run())


def test_it_takes_back_what_did_not_get_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        desk = Desk()
        (first,) = await desk.ask_at_once(1)
        (second,) = await desk.ask_at_once(2)
        monkeypatch.setattr(group_commit, "PATIENCE_SECONDS", -1)
        desk.gate.set()
        assert await first == 10
        with pytest.raises(GaveUpWaiting):
            await second
        assert desk.groups == [[1]]

    asyncio.run(run())
