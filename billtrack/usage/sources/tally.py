"""What a process has counted and not yet stored. Nothing here asks a database.

Each single record passes here, and what it costs is a part of what recording costs: so the
hour that runs is kept at hand, and nothing is made anew for each of them.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from flask import current_app

from billtrack.core.periods import Month
from billtrack.usage.records.submissions import Submission, Terms
from billtrack.usage.sources.pending import Pending

if TYPE_CHECKING:
    from billtrack.usage.records.outcomes import Outcome

EXTENSION = "billtrack.usage_journal"
HOUR = timedelta(hours=1)
LATE, REVERSED, REJECTED = "late", "reversed", "rejected"


@dataclass(slots=True)
class Hour:
    """Counts by account and word, and the first and last instant at which each account sent.

    A record is late that belongs to a month before the one in which the hour begins.
    """

    starts_at: datetime
    month_start: date
    counts: defaultdict[tuple[int, str], int] = field(default_factory=lambda: defaultdict(int))
    first: dict[int, datetime] = field(default_factory=dict)
    last: dict[int, datetime] = field(default_factory=dict)

    def add(self, other: Hour) -> None:
        """Add what was noted of the same hour."""
        for key, number in other.counts.items():
            self.counts[key] += number
        for source, at in other.first.items():
            self.first[source] = min(at, self.first.get(source, at))
        for source, at in other.last.items():
            self.last[source] = max(at, self.last.get(source, at))


class Tally:
    """What the threads of one process note; one of them stores it now and then.

    `refused` are records that were refused.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hours: dict[datetime, Hour] = {}
        self._current: Hour | None = None
        self.refused = Pending()

    def count(self, submissions: Sequence[Submission], outcomes: Sequence[Outcome]) -> None:
        """Count what was decided; what others only held back was not.

        Nor does a source do what others send once more for it. All of a group counts for the
        hour in which the last of it arrived.
        """
        terms = submissions[-1].terms
        now = terms.now
        with self._lock:
            hour = self._hour_of(terms)
            counts, month_start = hour.counts, hour.month_start
            for sent, outcome in zip(submissions, outcomes, strict=True):
                is_replay = sent.terms.received_at is not None
                if (outcome.record_id or outcome.error) and not is_replay:
                    source = sent.terms.recorded_by_id
                    counts[source, outcome.status.value] += 1
                    if outcome.stored is not None and outcome.stored.day < month_start:
                        counts[source, LATE] += 1
                    hour.first.setdefault(source, now)
                    hour.last[source] = now

    def count_reversal(self, source: int, terms: Terms) -> None:
        """Count a record of the source that was taken back, which need not be its own doing."""
        with self._lock:
            self._hour_of(terms).counts[source, REVERSED] += 1

    def count_misshapen(self, terms: Terms) -> None:
        """Count an item that is refused because it is no record."""
        with self._lock:
            hour, source = self._hour_of(terms), terms.recorded_by_id
            hour.counts[source, REJECTED] += 1
            hour.first.setdefault(source, terms.now)
            hour.last[source] = terms.now

    def take_hours(self) -> Collection[Hour]:
        """Return what was counted, and begin anew."""
        with self._lock:
            hours, self._hours, self._current = self._hours, {}, None
        return hours.values()

    def give_back_hours(self, hours: Collection[Hour]) -> None:
        """Count again what could not be stored."""
        with self._lock:
            for hour in hours:
                mine = self._hours.setdefault(hour.starts_at, hour)
                if mine is not hour:
                    mine.add(hour)

    def _hour_of(self, terms: Terms) -> Hour:
        """Return the hour that is noted at the moment; only with the lock."""
        current = self._current
        if current is not None and current.starts_at <= terms.now < current.starts_at + HOUR:
            return current
        starts_at = hour_of(terms.now)
        month_start = Month.of(terms.calendar.day_of(starts_at)).first
        self._current = self._hours.setdefault(starts_at, Hour(starts_at, month_start))
        return self._current


def current_tally() -> Tally:
    """Return the tally of the current app: each has one, as it has a database of its own."""
    found: Tally | None = current_app.extensions.get(EXTENSION)
    return found or current_app.extensions.setdefault(EXTENSION, Tally())


def hour_of(at: datetime) -> datetime:
    """Return the start of the hour; hours are those of UTC."""
    return at.replace(minute=0, second=0, microsecond=0)
