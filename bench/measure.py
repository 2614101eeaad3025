"""Alternate rounds of a figure, its limit and a peer, and compare their medians."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

Round = Callable[[], float]
"""Run once and return a rate (a second) or a time (milliseconds)."""


@dataclass(frozen=True, slots=True)
class Rounds:
    """What each round gave, in order."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The middle of the rounds."""
        return statistics.median(self.values)


@dataclass(frozen=True, slots=True)
class Result:
    """A figure beside its limit and a peer. The unit is `/s`, more is better, or `ms`."""

    name: str
    unit: str
    figure: Rounds
    limit_name: str = ""
    limit: Rounds | None = None
    peer: Rounds | None = None
    goal: float | None = None
    """What the figure itself should be, at least or at most."""

    peer_goal: float | None = None
    """How many times better than the peer it should be."""

    more: Mapping[str, float] = field(default_factory=dict)

    def ratio_to(self, other: Rounds | None) -> Rounds | None:
        """Return how many times better than the other it is, round by round."""
        if other is None:
            return None
        pairs = zip(self.figure.values, other.values, strict=True)
        is_rate = self.unit == "/s"
        return Rounds([ours / theirs if is_rate else theirs / ours for ours, theirs in pairs])

    @property
    def misses(self) -> list[str]:
        """The goals that it does not reach, in words."""
        missed = []
        if self.goal is not None:
            is_met = self.figure.median >= self.goal if self.unit == "/s" else (
                self.figure.median <= self.goal
            )  # fmt: skip
            missed += [] if is_met else [f"{self.goal:g} {self.unit}"]
        ratio = self.ratio_to(self.peer)
        if self.peer_goal is not None and ratio is not None and ratio.median < self.peer_goal:
            missed.append(f"{self.peer_goal:g} times the peer")
        return missed


def alternate(
    rounds: int, figure: Round, limit: Round, peer: Round | None = None
) -> tuple[Rounds, Rounds, Rounds | None]:
    """Run all in turn, `rounds` times over: a machine that slows down slows each of them."""
    ours, limits, peers = [], [], []
    for _ in range(rounds):
        ours.append(figure())
        limits.append(limit())
        if peer is not None:
            peers.append(peer())
    return Rounds(ours), Rounds(limits), Rounds(peers) if peers else None


def milliseconds(run: Callable[[], object], *, times: int = 1) -> Round:
    """Return a round that runs something so many times and gives the median time."""

    def timed() -> float:
        taken = []
        for _ in range(times):
            started = time.perf_counter()
            run()
            taken.append(time.perf_counter() - started)
        return 1000 * statistics.median(taken)

    return timed


def rate(run: Callable[[], int]) -> Round:
    """Return a round that runs something which tells how many it did, and gives the rate."""

    def timed() -> float:
        started = time.perf_counter()
        count = run()
        return count / (time.perf_counter() - started)

    return timed
