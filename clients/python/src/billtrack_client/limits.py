"""How much is sent at once, how much may wait, and for how long."""

from __future__ import annotations

from dataclasses import dataclass

MOST_RECORDS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """A batch is sent when it has `batch_records`, or when its first record is so old.

    At most `max_bytes` wait to be sent, about 200 for a record. Seconds: one request may take
    `timeout`; the pause after failures grows to `longest_wait`. Raises ValueError for what
    cannot be.
    """

    batch_records: int = 1000
    batch_seconds: float = 1.0
    max_bytes: int = 64 * 1024 * 1024
    timeout: float = 30.0
    longest_wait: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.batch_records <= MOST_RECORDS:
            raise ValueError(f"batch_records must be from 1 to {MOST_RECORDS}")
        if min(self.batch_seconds, self.timeout, self.longest_wait, self.max_bytes) <= 0:
            raise ValueError("limits must be above zero")
