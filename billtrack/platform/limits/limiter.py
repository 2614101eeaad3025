"""Spend from budgets: from what this process holds already, else from the bucket of all.

Of a large budget a hundredth is taken at a time, so that a request hardly ever waits for
Redis. With Redis away each process counts by itself and asks it again every few seconds.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from redis import RedisError

from billtrack.core.rates import Rate
from billtrack.platform.limits.buckets import (
    MOST_BUCKETS,
    Buckets,
    MemoryBuckets,
    Taken,
    per_second,
)
from billtrack.platform.limits.budgets import Budget
from billtrack.platform.limits.redis_buckets import RedisBuckets

log = structlog.get_logger(__name__)

PAUSE_SECONDS = 5.0
"""How long Redis is left alone after it has not answered."""

PARTS = 100


@dataclass(slots=True)
class _Purse:
    """What a process holds for one who spends, and what it knows of the rest."""

    held: int = 0
    left: float = 0.0
    asked_at: float = 0.0
    refused: int = 0
    refused_until: float = 0.0


class Limiter:
    """The budgets of one app. Safe to use by threads at once."""

    def __init__(
        self, rates: Mapping[Budget, Rate | None], *, shared: RedisBuckets | None = None
    ) -> None:
        self.rates = rates
        self._shared = shared
        self._memory = MemoryBuckets()
        self._lock = threading.Lock()
        self._purses: dict[tuple[Budget, str], _Purse] = {}
        self._pause_until = 0.0
        self._refusing_until = dict.fromkeys(Budget, 0.0)

    def spend(self, budget: Budget, subject: str, cost: int) -> bool:
        """Take the cost from the budget of the subject; False where too little is left of it.

        A cost above the whole budget is met by a full one, and is worked off afterwards.
        """
        rate = self.rates[budget]
        if rate is None:
            return True
        is_met = self._spend_held(budget, subject, cost)
        if is_met is not None:
            return is_met
        taken = self._take(f"{budget}.{subject}", rate, cost)
        self._note(budget, subject, cost, taken)
        return taken.given > 0

    def spend_at_once(self, budget: Budget, subject: str) -> bool:
        """Take one without waiting for Redis; False where that takes asking, or it is spent."""
        if self._shared is None:
            return self.spend(budget, subject, 1)
        return self.rates[budget] is None or self._spend_held(budget, subject, 1) is True

    def give_back(self, budget: Budget, subject: str) -> None:
        """Take back that one was spent."""
        with self._lock:
            self._purses.setdefault((budget, subject), _Purse()).held += 1

    def is_spent(self, budget: Budget, subject: str) -> bool:
        """Tell whether the subject was refused and need not ask yet; takes nothing."""
        return self.pause(budget, subject) > 0

    def is_refusing(self, budget: Budget) -> bool:
        """Tell whether any subject was refused and need not ask yet."""
        return self._refusing_until[budget] > time.monotonic()

    def pause(self, budget: Budget, subject: str) -> float:
        """Return after how many seconds the subject, once refused, may ask again."""
        purse = self._purses.get((budget, subject))
        return max(0.0, purse.refused_until - time.monotonic()) if purse is not None else 0.0

    def left(self, budget: Budget, subject: str, rate: Rate) -> int:
        """Return how much may still be spent at this moment, as far as this process knows."""
        purse = self._purses.get((budget, subject))
        if purse is None:
            return rate.most
        came_back = (time.monotonic() - purse.asked_at) * per_second(rate)
        return max(0, min(rate.most, math.floor(purse.held + purse.left + came_back)))

    def _spend_held(self, budget: Budget, subject: str, cost: int) -> bool | None:
        """Spend what is here, or refuse what was refused just now; None where one has to ask."""
        with self._lock:
            purse = self._purses.get((budget, subject))
            if purse is None:
                return None
            if purse.held >= cost:
                purse.held -= cost
                return True
            is_known = cost >= purse.refused and purse.refused_until > time.monotonic()
        return False if is_known else None

    def _note(self, budget: Budget, subject: str, cost: int, taken: Taken) -> None:
        now = time.monotonic()
        with self._lock:
            purse = self._purses.setdefault((budget, subject), _Purse())
            purse.left, purse.asked_at = taken.left, now
            if taken.given:
                purse.held += taken.given - cost
                purse.refused_until = 0.0
            else:
                purse.refused, purse.refused_until = cost, now + taken.wait
                self._refusing_until[budget] = max(
                    self._refusing_until[budget], purse.refused_until
                )
            if len(self._purses) > MOST_BUCKETS:
                self._purses.pop(next(iter(self._purses)))

    def _take(self, name: str, rate: Rate, cost: int) -> Taken:
        if self._shared is not None and self._may_ask():
            try:
                taken = self._shared.take(
                    name, rate, least=cost, at_most=max(cost, rate.most // PARTS)
                )
            except RedisError as error:
                self._leave_alone(error)
            else:
                self._trust_again()
                return taken
        in_memory: Buckets = self._memory
        return in_memory.take(name, rate, least=cost, at_most=cost)

    def _may_ask(self) -> bool:
        """Tell whether to ask Redis; after a failure one request finds out for all."""
        if not self._pause_until:
            return True
        with self._lock:
            now = time.monotonic()
            if now < self._pause_until:
                return False
            self._pause_until = now + PAUSE_SECONDS
            return True

    def _leave_alone(self, error: RedisError) -> None:
        was_well, self._pause_until = not self._pause_until, time.monotonic() + PAUSE_SECONDS
        if was_well:
            log.warning("limits_counted_apart", error=str(error))

    def _trust_again(self) -> None:
        if self._pause_until:
            self._pause_until = 0.0
            log.info("limits_counted_together")
