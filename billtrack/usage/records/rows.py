"""What is written of a record: the values, before any database is asked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any


class KeyTaken(Exception):
    """Another writer used one of the keys between the look-up and the insert."""


class MonthFull(Exception):
    """Another writer filled up a month between the look-up and the insert."""


# Not frozen: of these ten thousand are made for a batch, and frozen ones take twice as long.
@dataclass(slots=True)
class NewRecord:
    """A record ready to be stored, with the billing day it belongs to."""

    user_id: int
    meter_id: int
    quantity: int
    occurred_at: datetime
    day: date
    created_at: datetime
    recorded_by_id: int
    idempotency_key: str | None
    key_hash: bytes | None
    fingerprint: bytes
    metadata: dict[str, Any] | None
    reverses_id: int | None = None
    reason: str | None = None
    origin: str | None = None
    variant: str = ""


@dataclass(frozen=True, slots=True)
class UsedKey:
    """What a key was used for."""

    record_id: int
    fingerprint: bytes


DaySum = tuple[int, int, str, date, int, int]
"""user, meter, variant, day, quantity, count"""

MonthSum = tuple[int, int, date, int]
"""user, meter, first day of the month, quantity"""


def sums_of_days(records: Iterable[NewRecord]) -> list[DaySum]:
    """Return what the records add to daily rollups, in sorted order."""
    sums: dict[tuple[int, int, str, date], list[int]] = {}
    for record in records:
        key = record.user_id, record.meter_id, record.variant, record.day
        total = sums.get(key) or sums.setdefault(key, [0, 0])
        total[0] += record.quantity
        total[1] += 1
    return [(*key, quantity, count) for key, (quantity, count) in sorted(sums.items())]


def sums_of_months(days: Iterable[DaySum]) -> list[MonthSum]:
    """Return what these sums of days add to monthly rollups, in sorted order."""
    sums: dict[tuple[int, int, date], int] = {}
    for user_id, meter_id, _variant, day, quantity, _count in days:
        key = user_id, meter_id, day.replace(day=1)
        sums[key] = sums.get(key, 0) + quantity
    return [(*key, quantity) for key, quantity in sorted(sums.items())]
