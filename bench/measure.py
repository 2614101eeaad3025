"""Alternate rounds of a figure and its limit, and compare their medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Result:
    """A figure and its limit, in operations per second."""

    name: str
    limit_name: str
    figure: float
    limit: float

    @property
    def ratio(self) -> float:
        """How near the figure comes to its limit; 1 is the limit itself."""
        return self.figure / self.limit

    def row(self) -> str:
        """Return the result as a line of the table."""
        return (
            f"{self.name:<44} {self.figure:>12,.0f}/s   "
            f"{self.limit_name:<36} {self.limit:>12,.0f}/s   {self.ratio:>6.3f}"
        )


def compare(
    name: str,
    figure: Callable[[], int],
    *,
    limit_name: str,
    limit: Callable[[], int],
) -> Result:
    """Run both in turn, ROUNDS times; each returns how many operations it did."""
    figures, limits = [], []
    for _ in range(ROUNDS):
        figures.append(_rate(figure))
        limits.append(_rate(limit))
    return Result(name, limit_name, statistics.median(figures), statistics.median(limits))


def _rate(run: Callable[[], int]) -> float:
    started = time.perf_counter()
    count = run()
    return count / (time.perf_counter() - started)
