"""Read usage: records, daily totals and summaries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, bindparam, func, select, true
from sqlalchemy.orm import aliased

from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.core.periods import BillingCalendar, DateRange, Month
from billtrack.platform.extensions import db
from billtrack.usage.records.models import Meter, UsageDaily, UsageRecord

CHUNK = 500
BATCH = 1000
HALF = 10**9

DailyTotals = dict[int, dict[str, dict[date, int]]]
"""user id → meter code → billing day → quantity in base units"""


@dataclass(frozen=True, slots=True)
class RecordView:
    """A stored record with what belongs to it; the quantity is in base units."""

    id: int
    user_id: int
    meter_id: int
    event: str
    quantity: int
    occurred_at: datetime
    created_at: datetime
    recorded_by_id: int
    idempotency_key: str | None
    metadata: dict[str, Any] | None
    reverses_id: int | None
    reason: str | None
    reversed_by_id: int | None
    origin: str | None
    variant: str

    @property
    def source(self) -> str:
        """Within what the key is unique: the recording account, and the origin if it has one."""
        if self.origin is None:
            return str(self.recorded_by_id)
        return f"{self.recorded_by_id}/{self.origin}"


@dataclass(frozen=True, slots=True)
class RecordFilter:
    """Which records to list; None means any. `days` are inclusive billing days."""

    user_id: int | None = None
    event: str | None = None
    days: DateRange | None = None


@dataclass(frozen=True, slots=True)
class SummaryRow:
    """A total in base units and the number of records in it."""

    day: date | None
    month: Month | None
    event: str
    quantity: int
    count: int


def records_by_id(record_ids: Sequence[int]) -> dict[int, RecordView]:
    """Return these records, whoever asks."""
    found: dict[int, RecordView] = {}
    for start in range(0, len(record_ids), CHUNK):
        rows = db.session.execute(RECORDS_BY_ID, {"ids": record_ids[start : start + CHUNK]})
        found |= {row[0]: RecordView(*row) for row in rows}
    return found


def list_records(
    *,
    reach: Reach,
    matching: RecordFilter,
    calendar: BillingCalendar,
    before_id: int | None = None,
    limit: int = 50,
) -> list[RecordView]:
    """Return up to `limit` records, the last recorded first, with an id below `before_id`.

    The order is the order of recording, so that walking on with a cursor misses nothing
    that arrives late.
    """
    query = _records().where(_within(reach), _matching(matching, calendar))
    if before_id is not None:
        query = query.where(UsageRecord.id < before_id)
    rows = db.session.execute(query.order_by(UsageRecord.id.desc()).limit(limit))
    return [RecordView(*row) for row in rows]


def stream_records(
    *, reach: Reach, matching: RecordFilter, calendar: BillingCalendar
) -> Iterator[list[RecordView]]:
    """Yield all that list_records would, in its order, in batches of at most 1,000.

    No more than one batch is held in memory.
    """
    query = (
        _records()
        .where(_within(reach), _matching(matching, calendar))
        .order_by(UsageRecord.id.desc())
        .execution_options(yield_per=BATCH)
    )
    for rows in db.session.execute(query).partitions():
        yield [RecordView(*row) for row in rows]


def daily_totals(user_ids: Sequence[int], days: DateRange) -> DailyTotals:
    """Return what these users used on these billing days, in one query per 500 users."""
    totals: DailyTotals = {user_id: {} for user_id in user_ids}
    for start in range(0, len(user_ids), CHUNK):
        chunk = user_ids[start : start + CHUNK]
        query = (
            select(UsageDaily.user_id, Meter.code, UsageDaily.day, UsageDaily.quantity)
            .join(Meter, Meter.id == UsageDaily.meter_id)
            .where(UsageDaily.user_id.in_(chunk), UsageDaily.day.between(days.first, days.last))
        )
        for user_id, code, day, quantity in db.session.execute(query):
            by_day = totals[user_id].setdefault(code, {})
            by_day[day] = by_day.get(day, 0) + quantity  # a day has a row for each variant
    return totals


def summarize(
    *, reach: Reach, matching: RecordFilter, calendar: BillingCalendar, group_by: str
) -> list[SummaryRow]:
    """Return totals by event and by `day`, `month` or nothing more (`event`), oldest first.

    Read from the rollups; for a reach that covers only what the account recorded, from its
    records.
    """
    if reach.breadth is Breadth.RECORDED:
        daily = _daily_from_records(reach, matching, calendar)
    else:
        daily = _daily_from_rollups(reach, matching)
    sums: dict[tuple[Any, str], list[int]] = {}
    for day, event, quantity, count in daily:
        bucket = {"day": day, "month": Month.of(day)}.get(group_by)
        total = sums.setdefault((bucket, event), [0, 0])
        total[0] += quantity
        total[1] += count
    return [
        SummaryRow(
            day=bucket if group_by == "day" else None,
            month=bucket if group_by == "month" else None,
            event=event,
            quantity=quantity,
            count=count,
        )
        for (bucket, event), (quantity, count) in sorted(
            sums.items(), key=lambda item: (str(item[0][0]), item[0][1])
        )
    ]


def count_records(day: date, *, reach: Reach) -> int:
    """Return how many records belong to this billing day."""
    query = select(func.coalesce(func.sum(UsageDaily.count), 0)).where(UsageDaily.day == day)
    if reach.breadth is not Breadth.ALL:
        query = query.where(UsageDaily.user_id == reach.user_id)
    return int(db.session.scalar(query) or 0)


def users_with_usage(days: DateRange) -> Sequence[int]:
    """Return the users with any usage on these billing days, by id."""
    query = select(UsageDaily.user_id).where(UsageDaily.day.between(days.first, days.last))
    return db.session.scalars(query.distinct().order_by(UsageDaily.user_id)).all()


def last_used(user_ids: Sequence[int]) -> dict[int, date]:
    """Return the last billing day on which each of these users used anything."""
    query = (
        select(UsageDaily.user_id, func.max(UsageDaily.day))
        .where(UsageDaily.user_id.in_(user_ids), UsageDaily.quantity > 0)
        .group_by(UsageDaily.user_id)
    )
    return dict(db.session.execute(query).all())


def count_users(days: DateRange, *, reach: Reach, calendar: BillingCalendar) -> int:
    """Return for how many users there are records of these billing days within reach."""
    query = (
        select(func.count(func.distinct(UsageRecord.user_id)))
        .select_from(UsageRecord)
        .where(_within(reach), _matching(RecordFilter(days=days), calendar))
    )
    return db.session.scalar(query) or 0


def _daily_from_rollups(reach: Reach, matching: RecordFilter) -> list[tuple[date, str, int, int]]:
    # A sum over many users may pass 64 bits, which SQLite refuses: the halves do not.
    query = (
        select(
            UsageDaily.day,
            Meter.code,
            func.sum(UsageDaily.quantity // HALF),
            func.sum(UsageDaily.quantity % HALF),
            func.sum(UsageDaily.count),
        )
        .join(Meter, Meter.id == UsageDaily.meter_id)
        .group_by(UsageDaily.day, Meter.code)
    )
    if reach.breadth is not Breadth.ALL:
        query = query.where(UsageDaily.user_id == reach.user_id)
    if matching.user_id is not None:
        query = query.where(UsageDaily.user_id == matching.user_id)
    if matching.event is not None:
        query = query.where(Meter.code == matching.event)
    if matching.days is not None:
        query = query.where(UsageDaily.day.between(matching.days.first, matching.days.last))
    return [
        (day, code, int(high) * HALF + int(low), int(count))
        for day, code, high, low, count in db.session.execute(query)
    ]


def _daily_from_records(
    reach: Reach, matching: RecordFilter, calendar: BillingCalendar
) -> list[tuple[date, str, int, int]]:
    query = (
        select(UsageRecord.occurred_at, Meter.code, UsageRecord.quantity)
        .join(Meter, Meter.id == UsageRecord.meter_id)
        .where(_within(reach), _matching(matching, calendar))
        .execution_options(yield_per=1000)
    )
    return [
        (calendar.day_of(occurred_at), code, quantity, 1)
        for occurred_at, code, quantity in db.session.execute(query)
    ]


def _records() -> Select[Any]:
    reversal = aliased(UsageRecord)
    return (
        select(
            UsageRecord.id,
            UsageRecord.user_id,
            UsageRecord.meter_id,
            Meter.code,
            UsageRecord.quantity,
            UsageRecord.occurred_at,
            UsageRecord.created_at,
            UsageRecord.recorded_by_id,
            UsageRecord.idempotency_key,
            UsageRecord.details,
            UsageRecord.reverses_id,
            UsageRecord.reason,
            reversal.id,
            UsageRecord.origin,
            UsageRecord.variant,
        )
        .join(Meter, Meter.id == UsageRecord.meter_id)
        .outerjoin(
            reversal,
            and_(reversal.user_id == UsageRecord.user_id, reversal.reverses_id == UsageRecord.id),
        )
    )


RECORDS_BY_ID = _records().where(UsageRecord.id.in_(bindparam("ids", expanding=True)))
"""The columns of RecordView for `ids`, built once: building it takes longer than running it."""


def _within(reach: Reach) -> ColumnElement[bool]:
    if reach.breadth is Breadth.ALL:
        return true()
    if reach.breadth is Breadth.RECORDED:
        return UsageRecord.recorded_by_id == reach.user_id
    return UsageRecord.user_id == reach.user_id


def _matching(matching: RecordFilter, calendar: BillingCalendar) -> ColumnElement[bool]:
    conditions: list[ColumnElement[bool]] = [true()]
    if matching.user_id is not None:
        conditions.append(UsageRecord.user_id == matching.user_id)
    if matching.event is not None:
        conditions.append(Meter.code == matching.event)
    if matching.days is not None:
        starts_at, ends_at = calendar.period_of(matching.days)
        conditions += [UsageRecord.occurred_at >= starts_at, UsageRecord.occurred_at < ends_at]
    return and_(*conditions)
