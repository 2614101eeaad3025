"""What is written of a record: the values, before any database is asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any


class KeyTaken(Exception):
    """Another writer used one of the keys between the look-up and the insert."""


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


@dataclass(frozen=True, slots=True)
class UsedKey:
    """What a key was used for."""

    record_id: int
    fingerprint: bytes
