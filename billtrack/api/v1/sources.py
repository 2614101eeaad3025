"""/sources: which accounts send usage, when they were last seen, and what became of it by hour."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, Field

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.schemas import (
    BillingDate,
    Cursor,
    Limit,
    Query,
    from_cursor,
    page,
    read_period,
)
from billtrack.core.errors import InvalidError
from billtrack.core.periods import DateRange
from billtrack.platform.extensions import current_calendar
from billtrack.usage.sources import queries
from billtrack.usage.sources.queries import SourceView

MOST_DAYS = 31
SHOWN_DAYS = 7


class CountsOut(BaseModel):
    """How many records became what. `late` are those accepted for a month before.

    `reversed` are records of the source that were taken back, by whomever.
    """

    accepted: int
    late: int
    duplicate: int
    conflict: int
    rejected: int
    reversed: int


class SourceOut(BaseModel):
    """An account that sends usage; the id is the account's.

    `silent_since` is the first hour in which it was missed: it sent every week in that hour.
    """

    id: int
    name: str
    email: str
    active: bool
    first_seen_at: datetime
    last_seen_at: datetime
    silent_since: datetime | None
    last_24_hours: CountsOut


class SourceList(BaseModel):
    """Sources, by id."""

    data: list[SourceOut]
    next_cursor: str | None


class HourOut(CountsOut):
    """An hour in which the source sent something, or records of it were taken back."""

    starts_at: datetime


class HourList(BaseModel):
    """Hours, the newest first; those without anything are left out."""

    data: list[HourOut]


class SourceQuery(Query):
    """How many sources to list, and from where on."""

    limit: Limit = 50
    cursor: Cursor | None = None


class HoursQuery(Query):
    """Which billing days, at most 31; the last seven when left out."""

    first: Annotated[BillingDate | None, Field(alias="from")] = None
    last: Annotated[BillingDate | None, Field(alias="to")] = None


@api.get("/sources")
@access.require(Permission.JOURNAL_READ)
@api.input(SourceQuery, location="query")
@api.output(SourceList)
def list_sources(query_data: SourceQuery) -> tuple[dict[str, Any], int, dict[str, str]]:
    """List the accounts that send usage, by id; a provider finds its own.

    What is counted is a few seconds old.
    """
    sources = queries.list_sources(
        reach=access.reach(Permission.JOURNAL_READ),
        now=datetime.now(UTC),
        after_id=from_cursor(query_data.cursor) or 0,
        limit=query_data.limit + 1,
    )
    return page([source_json(source) for source in sources], limit=query_data.limit)


@api.get("/sources/<id:source_id>")
@access.require(Permission.JOURNAL_READ)
@api.output(SourceOut)
def show_source(source_id: int) -> dict[str, Any]:
    """Show one source."""
    reach = access.reach(Permission.JOURNAL_READ)
    return source_json(queries.get_source(source_id, reach=reach, now=datetime.now(UTC)))


@api.get("/sources/<id:source_id>/hours")
@access.require(Permission.JOURNAL_READ)
@api.input(HoursQuery, location="query")
@api.output(HourList)
def list_source_hours(source_id: int, query_data: HoursQuery) -> dict[str, Any]:
    """Tell by hour what became of the records that a source sent.

    Counts are kept for 90 days. They are of what was asked: a record that was sent three times
    is accepted once and a duplicate twice.
    """
    now, reach = datetime.now(UTC), access.reach(Permission.JOURNAL_READ)
    queries.get_source(source_id, reach=reach, now=now)
    days = _days(query_data.first, query_data.last, today=current_calendar().today(now))
    starts_at, ends_at = current_calendar().period_of(days)
    hours = queries.list_hours(source_id, starts_at=starts_at, ends_at=ends_at)
    return {"data": [{"starts_at": one.starts_at, **one.counts._asdict()} for one in hours]}


def source_json(source: SourceView) -> dict[str, Any]:
    """Return the source as the API shows it."""
    return {
        "id": source.account_id,
        "name": source.name,
        "email": source.email,
        "active": source.is_active,
        "first_seen_at": source.first_seen_at,
        "last_seen_at": source.last_seen_at,
        "silent_since": source.silent_since_at,
        "last_24_hours": source.last_day._asdict(),
    }


def _days(first: date | None, last: date | None, *, today: date) -> DateRange:
    days = read_period(month=None, first=first, last=last, default=None)
    if days is None:
        return DateRange(today - timedelta(days=SHOWN_DAYS - 1), today)
    if (days.last - days.first).days >= MOST_DAYS:
        raise InvalidError.at("to", f"Ask for at most {MOST_DAYS} days at once.")
    return days
