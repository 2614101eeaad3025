"""A bucket for each who spends: full at first, emptied by spending, filled by time, evenly.

More than a whole bucket can be taken once it is full; what is owed then has to come back
before anything else is given. So nothing is too large to pass, and no more passes on average.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Protocol

from billtrack.core.rates import Rate

MOST_BUCKETS = 20_000
"""How many are remembered, so that nobody fills the memory from ever new addresses."""


def per_second(rate: Rate) -> float:
    """Return how many come back in a second."""
    return rate.most / rate.seconds


@dataclass(frozen=True, slots=True)
class Taken:
    """What was given, what is left in the bucket, and after how many seconds to ask again."""

    given: int
    left: float
    wait: float = 0.0


class Buckets(Protocol):
    """Where buckets stand: in memory or in Redis."""

    def take(self, name: str, rate: Rate, *, least: int, at_most: int) -> Taken:
        """Give as much as there is, up to `at_most`; nothing where `least` is not there."""


class MemoryBuckets:
    """Buckets of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._levels: dict[str, tuple[float, float]] = {}  # by name: how much at which instant

    def take(self, name: str, rate: Rate, *, least: int, at_most: int) -> Taken:
        """Give as much as there is, up to `at_most`; nothing where `least` is not there."""
        now = time.monotonic()
        with self._lock:
            level, at = self._levels.pop(name, (float(rate.most), now))
            level = min(rate.most, level + (now - at) * per_second(rate))
            needed = min(least, rate.most)
            given = max(least, min(at_most, int(level))) if level >= needed else 0
            level -= given
            self._levels[name] = level, now
            if len(self._levels) > MOST_BUCKETS:
                # Who has not spent for longest; its bucket is the fullest by now, most likely.
                self._levels.pop(next(iter(self._levels)))
        return Taken(given, level, 0.0 if given else (needed - level) / per_second(rate))
