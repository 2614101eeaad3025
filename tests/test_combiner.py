"""What threads ask for at the same moment is done together, and answered one by one."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from billtrack import combiner
from billtrack.combiner import Combiner, GaveUpWaiting, _Request

PATIENCE = 30


class Desk:
    """A combiner whose first group is held until the others have gathered."""

    def __init__(self, *, at_most: int = 100, patience: float = PATIENCE) -> None:
        self.groups: list[list[int]] = []
        self.gate = threading.Event()
        self.combiner: Combiner[int, int] = Combiner(self.run, at_most=at_most, patience=patience)

    def run(self, items: Sequence[int]) -> list[int]:
        self.groups.append(list(items))
        assert self.gate.wait(PATIENCE)
        if any(item < 0 for item in items):
            raise ValueError(items)
        return [10 * item for item in items]

    def ask_at_once(self, items: Sequence[int], threads: ThreadPoolExecutor) -> list[Future[int]]:
        """Ask for the first, and while that is held for the others, in order."""
        asked = []
        for number, item in enumerate(items):
            asked.append(threads.submit(self.combiner.ask, item))
            until(lambda: len(self.groups) + len(self.combiner._waiting) > number)  # noqa: B023
        return asked


def test_it_does_together_what_gathers_while_another_runs() -> None:
    desk = Desk()
    with ThreadPoolExecutor(6) as threads:
        asked = desk.ask_at_once([1, 2, 3, 4, 5, 6], threads)
        desk.gate.set()
        assert [one.result(PATIENCE) for one in asked] == [10, 20, 30, 40, 50, 60]
    assert desk.groups == [[1], [2, 3, 4, 5, 6]]


def test_it_takes_only_so_many_at_once() -> None:
    desk = Desk(at_most=2)
    with ThreadPoolExecutor(6) as threads:
        asked = desk.ask_at_once([1, 2, 3, 4, 5, 6], threads)
        desk.gate.set()
        assert [one.result(PATIENCE) for one in asked] == [10, 20, 30, 40, 50, 60]
    assert desk.groups == [[1], [2, 3], [4, 5], [6]]


def test_it_lets_one_failure_spoil_nothing_else() -> None:
    desk = Desk()
    with ThreadPoolExecutor(4) as threads:
        asked = desk.ask_at_once([1, 2, -3, 4], threads)
        desk.gate.set()
        assert [asked[number].result(PATIENCE) for number in (0, 1, 3)] == [10, 20, 40]
        with pytest.raises(ValueError, match=r"\[-3\]"):
            asked[2].result(PATIENCE)
    assert desk.groups[:2] == [[1], [2, -3, 4]]
    assert sorted(desk.groups[2:]) == [[-3], [2], [4]]
    assert desk.combiner.ask(5) == 50


def test_it_raises_what_fails_alone_once() -> None:
    desk = Desk()
    desk.gate.set()
    with pytest.raises(ValueError, match="-1"):
        desk.combiner.ask(-1)
    assert desk.groups == [[-1]]
    assert desk.combiner.ask(2) == 20


def test_it_takes_back_what_did_not_get_its_turn() -> None:
    desk = Desk(patience=0.05)
    with ThreadPoolExecutor(2) as threads:
        first, second = desk.ask_at_once([1, 2], threads)
        with pytest.raises(GaveUpWaiting):
            second.result(PATIENCE)
        desk.gate.set()
        assert first.result(PATIENCE) == 10
    assert desk.groups == [[1]]
    assert desk.combiner.ask(3) == 30


def test_it_waits_for_what_is_being_done() -> None:
    desk = Desk(patience=0.01)
    taken: _Request[int, int] = _Request(1)
    waiting = threading.Thread(target=desk.combiner._wait, args=(taken,))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    taken.woken.release()
    waiting.join(PATIENCE)
    assert not waiting.is_alive()


def test_it_starts_anew_in_the_child_of_a_fork() -> None:
    desk = Desk()
    with ThreadPoolExecutor(1) as threads:
        (held,) = desk.ask_at_once([1], threads)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork: on purpose
            child = os.fork()
        if child == 0:
            signal.alarm(PATIENCE)
            desk.gate.set()
            os._exit(0 if desk.combiner.ask(2) == 20 else 1)
        assert os.waitpid(child, 0)[1] == 0
        desk.gate.set()
        assert held.result(PATIENCE) == 10


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_it_waits_a_moment_for_as_many_as_the_last_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combiner, "GATHER_SECONDS", PATIENCE)
    desk = Desk()
    with ThreadPoolExecutor(4) as threads:
        asked = desk.ask_at_once([1, 2, 3, 4], threads)
        desk.gate.set()
        assert [one.result(PATIENCE) for one in asked] == [10, 20, 30, 40]
        again = []
        for number, item in enumerate([5, 6, 7]):
            again.append(threads.submit(desk.combiner.ask, item))
            until(lambda: len(desk.combiner._waiting) > number or len(desk.groups) == 3)  # noqa: B023
        assert [one.result(PATIENCE) for one in again] == [50, 60, 70]
    assert desk.groups == [[1], [2, 3, 4], [5, 6, 7]]


def test_it_does_not_wait_for_those_who_do_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combiner, "GATHER_SECONDS", 0.01)
    desk = Desk()
    desk.gate.set()
    desk.combiner._last_size = 3
    assert desk.combiner.ask(1) == 10
    monkeypatch.setattr(combiner, "GATHER_SECONDS", 10 * PATIENCE)
    assert [desk.combiner.ask(item) for item in (2, 3)] == [20, 30]  # alone, at once
