"""Rounds of a figure and of whatever stands beside it, in turn, and their ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

BASELINE_GOAL = 0.95
"""Lowest ratio to the baseline that passes: a twentieth is noise."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One round."""

    value: float
    """A rate (a second) or a time (milliseconds)."""

    count: int = 1
    """Requests answered, or records stored by batches."""

    p50: float | None = None
    """Latencies are milliseconds."""

    p99: float | None = None

    cpu: float | None = None
    """CPU time of the server, microseconds per request or record; None if not known."""

    database_cpu: float | None = None
    """CPU time of its PostgreSQL backends, likewise."""


Round = Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Rounds:
    """The fields of all samples, in order. A field is empty if any sample lacks it."""

    values: Sequence[float]
    p50: Sequence[float] = ()
    p99: Sequence[float] = ()
    cpu: Sequence[float] = ()
    database_cpu: Sequence[float] = ()

    @classmethod
    def of(cls, samples: Sequence[Sample]) -> Self:
        """Return the samples field by field."""
        return cls(
            [one.value for one in samples],
            _complete([one.p50 for one in samples]),
            _complete([one.p99 for one in samples]),
            _complete([one.cpu for one in samples]),
            _complete([one.database_cpu for one in samples]),
        )

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)


def _complete(values: Sequence[float | None]) -> Sequence[float]:
    known = [value for value in values if value is not None]
    return known if len(known) == len(values) else ()


@dataclass(frozen=True, slots=True)
class Result:
    """A figure beside others. The unit is `/s`, more is better, or `ms`."""

    name: str
    unit: str
    figure: Rounds
    limit_name: str = ""
    limit: Rounds | None = None
    baseline: Rounds | None = None
    peer: Rounds | None = None
    goal: float | None = None
    """What the figure itself should be, at least or at most."""

    peer_goal: float | None = None
    """How many times better than the peer it should be."""

    def ratio_to(self, other: Rounds | None) -> Rounds | None:
        """Return how many times better than the other it is, round by round."""
        if other is None:
            return None
        pairs = zip(self.figure.values, other.values, strict=True)
        is_rate = self.unit == "/s"
        return Rounds([ours / theirs if is_rate else theirs / ours for ours, theirs in pairs])

    def cpu_ratio_to(self, other: Rounds | None) -> Rounds | None:
        """Return its CPU time divided by that of the other, round by round: less is better."""
        if other is None or not self.figure.cpu or not other.cpu:
            return None
        pairs = zip(self.figure.cpu, other.cpu, strict=True)
        return Rounds([ours / theirs for ours, theirs in pairs])

    @property
    def misses(self) -> list[str]:
        """The goals that it does not reach, in words."""
        missed = []
        if self.goal is not None:
            is_met = self.figure.median >= self.goal if self.unit == "/s" else (
                self.figure.median <= self.goal
            )  # fmt: skip
            missed += [] if is_met else [f"{self.goal:g} {self.unit}"]
        for name, other, goal in (
            ("baseline", self.baseline, BASELINE_GOAL),
            ("peer", self.peer, self.peer_goal),
        ):
            ratio = self.ratio_to(other)
            if goal is not None and ratio is not None and ratio.median < goal:
                missed.append(f"{goal:g} times the {name}")
        return missed


def alternate(
    rounds: int,
    figure: Round,
    limit: Round,
    *,
    baseline: Round | None = None,
    peer: Round | None = None,
) -> tuple[Rounds, Rounds, Rounds | None, Rounds | None]:
    """Run all in turn, `rounds` times over, each time in another order.

    A machine that slows down favours none of them: each comes first as often as last.
    """
    runs = [run for run in (figure, baseline, limit, peer) if run is not None]
    samples: dict[Round, list[Sample]] = {run: [] for run in runs}
    orders = _orders(len(runs))
    for number in range(rounds):
        for place in orders[number % len(orders)]:
            samples[runs[place]].append(runs[place]())
    return (
        Rounds.of(samples[figure]),
        Rounds.of(samples[limit]),
        Rounds.of(samples[baseline]) if baseline else None,
        Rounds.of(samples[peer]) if peer else None,
    )


def _orders(count: int) -> list[list[int]]:
    """Return a Latin square: each number comes in each place once.

    With an even count each also follows each other one once (Williams 1949): a server that was
    just measured may still be busy.
    """
    zigzag = [(place + 1) // 2 if place % 2 else -(place // 2) for place in range(count)]
    return [[(first + step) % count for step in zigzag] for first in range(count)]


def milliseconds(run: Callable[[], object], *, times: int = 1) -> Round:
    """Return a round that runs something so many times and gives the median time."""

    def timed() -> Sample:
        taken = []
        for _ in range(times):
            started = time.perf_counter()
            run()
            taken.append(time.perf_counter() - started)
        return Sample(1000 * statistics.median(taken), times)

    return timed


def rate(run: Callable[[], int]) -> Round:
    """Return a round that runs something which tells how many it did, and gives the rate."""

    def timed() -> Sample:
        started = time.perf_counter()
        count = run()
        return Sample(count / (time.perf_counter() - started), count)

    return timed
