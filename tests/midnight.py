"""No test runs across midnight: what it writes belongs to the day, and month, that it looks at."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

MARGIN = timedelta(seconds=30)
"""Longer than a test of a page or an operation takes on a busy machine."""


def wait_past_midnight() -> None:
    """Wait until midnight (UTC) has passed if it is nearer than MARGIN."""
    left = until_midnight(datetime.now(UTC))
    while left < MARGIN:
        time.sleep(min(left.total_seconds() + 0.01, 1))
        left = until_midnight(datetime.now(UTC))


def until_midnight(now: datetime) -> timedelta:
    """Return how long it is until the next day begins in UTC; never zero."""
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(days=1) - now
