"""Do together what several threads ask for at the same moment.

There is no thread behind it. Whoever asks first does what is waiting, its own among it, while
others gather; then the first of those does what has gathered meanwhile. A thread that is alone
pays nothing, nothing has to be started, drained or stopped, and all runs inside the request,
with its app context. A thread that asks is answered only after its work was done.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from billtrack.core.errors import UnavailableError

T = TypeVar("T")
R = TypeVar("R")

_NOT_DONE: Any = object()


PATIENCE_SECONDS = 30.0

GATHER_SECONDS = 0.001
"""How long a group waits for those who were in the one before: just answered, they ask again.

Much of what a group costs is the same for one and for twenty. Who is alone never waits.
"""


class GaveUpWaiting(UnavailableError):
    """What was before it took so long that this was taken back; nothing of it was done."""

    code = "unavailable"


class Combiner(Generic[T, R]):
    """Runs `run` with all that waits, at most `at_most` of it, in the order of asking.

    `run` returns a result for each. When it raises, whoever asked runs it anew with what is
    theirs alone, in their own thread: one bad piece of work spoils nobody else's. So it may
    raise only when it is certain that nothing was done.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Sequence[R]],
        *,
        at_most: int,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self._run = run
        self._at_most = at_most
        self._patience = patience
        self._lock = threading.Lock()
        self._waiting: list[_Request[T, R]] = []
        self._is_led = False
        self._last_size = 0
        self._enough: threading.Lock | None = None
        _combiners.add(self)

    def ask(self, item: T) -> R:
        """Return the result for the item, or raise what `run` raises for it alone.

        Raises GaveUpWaiting after `patience` seconds in which its turn did not come.
        """
        mine: _Request[T, R] = _Request(item)
        with self._lock:
            self._waiting.append(mine)
            leads, self._is_led = not self._is_led, True
            self._tell_if_enough()
        if not leads:
            self._wait(mine)
        if leads or mine.leads_next:
            self._lead()
        if mine.result is _NOT_DONE:
            (mine.result,) = self._run([item])
        return mine.result

    def forget(self) -> None:
        """Begin anew; in the child of a fork the threads that wait are gone."""
        self._lock = threading.Lock()
        self._waiting = []
        self._is_led = False
        self._last_size = 0
        self._enough = None

    def _wait(self, mine: _Request[T, R]) -> None:
        if mine.woken.acquire(timeout=self._patience):
            return
        with self._lock:
            if mine in self._waiting and not mine.leads_next:
                self._waiting.remove(mine)
                raise GaveUpWaiting("Too much is asked for at once. Try again in a moment.")
        # It is being done at this moment, and only then is it known what became of it.
        mine.woken.acquire()

    def _lead(self) -> None:
        """Do what waits, first what the caller asked for, then let the next one lead."""
        if self._last_size > 1:
            self._gather()
        with self._lock:
            taken = self._waiting[: self._at_most]
            del self._waiting[: self._at_most]
            self._last_size = len(taken)
        try:
            self._do(taken)
        finally:
            with self._lock:
                self._is_led = bool(self._waiting)
                if self._is_led:
                    self._waiting[0].leads_next = True
                    self._waiting[0].woken.release()
            for one in taken[1:]:
                one.woken.release()

    def _gather(self) -> None:
        """Wait a moment until as many ask as did the last time."""
        enough = threading.Lock()
        enough.acquire()
        with self._lock:
            self._enough = enough
            self._tell_if_enough()
        enough.acquire(timeout=GATHER_SECONDS)
        with self._lock:
            self._enough = None

    def _tell_if_enough(self) -> None:
        """Let the group begin that is waiting for others; only with the lock."""
        if self._enough is not None and len(self._waiting) >= self._last_size:
            self._enough.release()
            self._enough = None

    def _do(self, taken: Sequence[_Request[T, R]]) -> None:
        try:
            results = self._run([one.item for one in taken])
        except Exception:
            # Each is tried again by itself and finds its own reason.
            if len(taken) == 1:
                raise
            return
        for one, result in zip(taken, results, strict=True):
            one.result = result


class _Request(Generic[T, R]):
    __slots__ = ("item", "leads_next", "result", "woken")

    def __init__(self, item: T) -> None:
        self.item = item
        self.result: R = _NOT_DONE
        self.leads_next = False
        self.woken = threading.Lock()
        self.woken.acquire()


_combiners: weakref.WeakSet[Combiner[Any, Any]] = weakref.WeakSet()


def _forget_all() -> None:
    for combiner in _combiners:
        combiner.forget()


os.register_at_fork(after_in_child=_forget_all)
