"""What is stored of a source, by billing day, meter and, where asked for, user: in one query."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Subquery,
    and_,
    case,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.orm import aliased

from billtrack.core.periods import BillingCalendar, DateRange
from billtrack.platform.extensions import db
from billtrack.usage.records.models import Meter, UsageRecord
from billtrack.usage.records.rollups import seconds_of

DAY = timedelta(days=1)
DAY_SECONDS = 86_400
HALF = 10**9

Place = tuple[date, str, int | None]
"""billing day, event, and user where totals are per user"""


@dataclass(frozen=True, slots=True)
class _Run:
    """Billing days that follow each other, each of 24 hours; or one that is longer or shorter.

    `first` is the number of the first of them.
    """

    first: int
    starts_at: datetime
    ends_at: datetime
    is_odd: bool


def stored_totals(
    account_id: int, days: DateRange, *, calendar: BillingCalendar, by_user: bool, limit: int
) -> Mapping[Place, int]:
    """Return up to `limit` totals, in base units, of what the account recorded on these days.

    A reversal counts for the account whose record it takes back, whoever reversed it; a late
    record on the day on which the usage occurred.
    """
    records = _records_of(account_id, days, calendar)
    user = records.c.user_id if by_user else null()
    number = _day_number(records.c.occurred_at, days, calendar)
    # The sum of a day may pass 64 bits, which SQLite refuses: the halves do not.
    high, low = func.sum(records.c.quantity // HALF), func.sum(records.c.quantity % HALF)
    query = (
        select(number, Meter.code, user, high, low)
        .join(Meter, Meter.id == records.c.meter_id)
        .group_by(number, Meter.code, *([user] if by_user else []))
        .limit(limit)
    )
    return {
        (days.first + at * DAY, event, user_id): int(above) * HALF + int(below)
        for at, event, user_id, above, below in db.session.execute(query)
    }


def _records_of(account_id: int, days: DateRange, calendar: BillingCalendar) -> Subquery:
    starts_at, ends_at = calendar.period_of(days)
    original = aliased(UsageRecord)
    columns = (
        UsageRecord.user_id,
        UsageRecord.meter_id,
        UsageRecord.occurred_at,
        UsageRecord.quantity,
    )
    within = UsageRecord.occurred_at >= starts_at, UsageRecord.occurred_at < ends_at
    own = select(*columns).where(
        UsageRecord.recorded_by_id == account_id, UsageRecord.reverses_id.is_(None), *within
    )
    taken_back = (
        select(*columns)
        .join(
            original,
            and_(original.user_id == UsageRecord.user_id, original.id == UsageRecord.reverses_id),
        )
        .where(original.recorded_by_id == account_id, *within)
    )
    return union_all(own, taken_back).subquery()


def _day_number(
    occurred_at: ColumnElement[datetime], days: DateRange, calendar: BillingCalendar
) -> ColumnElement[int]:
    """Count the billing days from the first one, which is 0."""
    seconds = seconds_of(occurred_at)
    numbers: list[tuple[ColumnElement[bool], ColumnElement[int]]] = []
    for run in _runs(days, calendar):
        first, start = literal(run.first, BigInteger), int(run.starts_at.timestamp())
        number = first if run.is_odd else first + (seconds - start) // DAY_SECONDS
        numbers.append((occurred_at < run.ends_at, number))
    return case(*numbers)


def _runs(days: DateRange, calendar: BillingCalendar) -> Iterator[_Run]:
    """Cut the days where the clocks change: between, a day is 24 hours, which SQL can count."""
    bounds = [calendar.starts_at(days.first + number * DAY) for number in range(days.days + 1)]
    first = 0
    for number, (start, end) in enumerate(pairwise(bounds)):
        is_odd = end - start != DAY
        if is_odd and number > first:
            yield _Run(first, bounds[first], start, is_odd=False)
            first = number
        if is_odd or number == days.days - 1:
            yield _Run(first, bounds[first], end, is_odd=is_odd)
            first = number + 1
