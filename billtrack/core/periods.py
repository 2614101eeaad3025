"""Billing months, inclusive ranges of billing dates, and the instants they stand for."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

MIN_YEAR = 1970
MAX_YEAR = 9998  # one year short of datetime's end, so that the day after always exists

MONTHS = 12

_MONTH = re.compile(r"([0-9]{4})-([0-9]{2})", re.ASCII)
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month of billing dates; raises ValueError if there is no such month."""

    year: int
    month: int

    def __post_init__(self) -> None:
        if not MIN_YEAR <= self.year <= MAX_YEAR:
            raise ValueError(f"write a year from {MIN_YEAR} to {MAX_YEAR}")
        if not 1 <= self.month <= MONTHS:
            raise ValueError("write a month from 01 to 12")

    @classmethod
    def parse(cls, text: str) -> Month:
        """Read a month written as "2026-10"; raises ValueError for anything else."""
        match = _MONTH.fullmatch(text)
        if match is None:
            raise ValueError("write a month as 2026-10")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    @lru_cache(maxsize=1024)
    def of(cls, day: date) -> Month:
        """Return the month that contains a billing date; raises ValueError outside 1970-9998."""
        return cls(day.year, day.month)

    @property
    def first(self) -> date:
        """The first day."""
        return date(self.year, self.month, 1)

    @property
    def last(self) -> date:
        """The last day, inclusive."""
        return date(self.year, self.month, self.days)

    @property
    def days(self) -> int:
        """How many days it has: 28 to 31."""
        return calendar.monthrange(self.year, self.month)[1]

    @property
    def dates(self) -> DateRange:
        """All its days as an inclusive range."""
        return DateRange(self.first, self.last)

    @property
    def next(self) -> Month:
        """The month after; raises ValueError after 9998-12."""
        return Month(self.year + self.month // MONTHS, self.month % MONTHS + 1)

    @property
    def previous(self) -> Month:
        """The month before; raises ValueError before 1970-01."""
        return Month(self.year - (self.month == 1), (self.month - 2) % MONTHS + 1)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


@dataclass(frozen=True, slots=True)
class DateRange:
    """Billing dates from first through last, both inclusive; raises ValueError if reversed."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"the range ends ({self.last}) before it begins ({self.first})")

    @property
    def days(self) -> int:
        """How many days it has: at least 1."""
        return self.last.toordinal() - self.first.toordinal() + 1

    def __iter__(self) -> Iterator[date]:
        ordinals = range(self.first.toordinal(), self.last.toordinal() + 1)
        return map(date.fromordinal, ordinals)

    def contains(self, day: date) -> bool:
        """Tell whether a day lies in the range, its ends included."""
        return self.first <= day <= self.last

    def intersect(self, other: DateRange) -> DateRange | None:
        """Return the days that both ranges have, or None when they share none."""
        first, last = max(self.first, other.first), min(self.last, other.last)
        return DateRange(first, last) if first <= last else None

    def months(self) -> Iterator[tuple[Month, DateRange]]:
        """Yield each month the range touches, ascending, with the days of the range in it.

        Raises ValueError for days outside 1970-9998.
        """
        month, first = Month.of(self.first), self.first
        while month.last < self.last:
            yield month, DateRange(first, month.last)
            month = month.next
            first = month.first
        yield month, DateRange(first, self.last)

    def __str__(self) -> str:
        return f"{self.first}..{self.last}"


@dataclass(frozen=True, slots=True)
class BillingCalendar:
    """Which instants belong to which billing day in one IANA time zone.

    Raises ZoneInfoNotFoundError for an unknown zone.
    """

    timezone_name: str
    _zone: tzinfo = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Python's own UTC does in a sixth of the time what its table of changes would.
        zone = UTC if self.timezone_name == "UTC" else ZoneInfo(self.timezone_name)
        object.__setattr__(self, "_zone", zone)

    def day_of(self, instant: datetime) -> date:
        """Return the billing day an instant belongs to; raises ValueError if it is naive."""
        if instant.utcoffset() is None:
            raise ValueError("a naive time belongs to no billing day: give it a UTC offset")
        return instant.astimezone(self._zone).date()

    def today(self, now: datetime) -> date:
        """Return the billing day at `now`; raises ValueError if it is naive."""
        return self.day_of(now)

    def starts_at(self, day: date) -> datetime:
        """Return the first instant of a billing day, aware UTC."""
        midnight = datetime.combine(day, time.min, tzinfo=self._zone)
        instant = midnight.astimezone(UTC)
        if instant.astimezone(self._zone).replace(tzinfo=None) == midnight.replace(tzinfo=None):
            return instant
        return self._end_of_gap(day, midnight)

    def period_of(self, dates: DateRange) -> tuple[datetime, datetime]:
        """Return the instants of inclusive dates as half-open UTC [starts_at, ends_at)."""
        return self.starts_at(dates.first), self.starts_at(dates.last + _ONE_DAY)

    def _end_of_gap(self, day: date, midnight: datetime) -> datetime:
        """Find where the clock jumps over midnight: the day begins at the jump.

        In a gap fold=1 reads the clock after the jump and so names an instant before it,
        fold=0 one at or after it; transitions fall on whole seconds.
        """
        low = int(midnight.replace(fold=1).timestamp())
        high = int(midnight.timestamp())
        while high - low > 1:
            middle = (low + high) // 2
            if datetime.fromtimestamp(middle, self._zone).date() < day:
                low = middle
            else:
                high = middle
        return datetime.fromtimestamp(high, UTC)
