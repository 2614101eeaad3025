"""/usage: record, read, list, summarize, reverse."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, JsonValue

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.idempotency import HEADER, read_key
from billtrack.api.v1.refused_usage import keep_misshapen
from billtrack.api.v1.schemas import (
    BillingDate,
    Body,
    Cursor,
    Limit,
    Query,
    QueryId,
    from_cursor,
    page,
    read_period,
)
from billtrack.api.v1.terms import terms
from billtrack.core.errors import InvalidError
from billtrack.platform.extensions import current_calendar
from billtrack.platform.http import quiet
from billtrack.platform.limits import Budget
from billtrack.platform.replica.reading import may_be_old
from billtrack.usage.ingest import intake
from billtrack.usage.ingest.fields import EventCode, PlainText
from billtrack.usage.ingest.reversing import reverse
from billtrack.usage.ingest.schema import NewUsage
from billtrack.usage.records import lookup, queries
from billtrack.usage.records.queries import RecordFilter, RecordView


class UsageRecordOut(BaseModel):
    """A stored record; it never changes."""

    id: int
    user_id: int
    event: str
    quantity: int
    occurred_at: datetime
    created_at: datetime
    idempotency_key: str | None
    source: str
    metadata: dict[str, JsonValue] | None
    reverses_id: int | None
    reversed_by_id: int | None


class UsageList(BaseModel):
    """Records, the last recorded first."""

    data: list[UsageRecordOut]
    next_cursor: str | None


class UsageQuery(Query):
    """Which records to list."""

    user_id: QueryId | None = None
    event: EventCode | None = None
    first: Annotated[BillingDate | None, Field(alias="from")] = None
    last: Annotated[BillingDate | None, Field(alias="to")] = None
    limit: Limit = 50
    cursor: Cursor | None = None


class SummaryQuery(Query):
    """Which totals to give."""

    user_id: QueryId | None = None
    event: EventCode | None = None
    first: Annotated[BillingDate | None, Field(alias="from")] = None
    last: Annotated[BillingDate | None, Field(alias="to")] = None
    group_by: Literal["day", "month", "event"] = "event"


class SummaryOut(BaseModel):
    """Totals by event, and by day or month if asked for."""

    data: list[dict[str, JsonValue]]


class ReverseIn(Body):
    """Why the record is taken back."""

    reason: Annotated[
        PlainText, Field(min_length=1, max_length=500, examples=["The gateway counted twice."])
    ]


@api.post("/usage/")
@quiet
@access.require(Permission.USAGE_RECORD, budget=Budget.USAGE)
@keep_misshapen
@api.input(NewUsage)
@api.output(UsageRecordOut, 201)
@api.doc(responses={200: "The key was used before: the original record", 409: "Conflict"})
def record_usage(json_data: NewUsage) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Record usage.

    With an idempotency key a repeated request answers 200 with the original record, for ever;
    the same key with other content answers 409.
    """
    item = replace(json_data.to_input(), idempotency_key=_one_key(json_data.idempotency_key))
    record, is_new = intake.submit_one(item, terms=terms())
    return record_json(record), 201 if is_new else 200, {"Location": location_of(record)}


@api.get("/usage/<id:record_id>")
@quiet
@access.require(Permission.USAGE_READ, budget=Budget.USAGE)
@api.output(UsageRecordOut)
def show_record(record_id: int) -> dict[str, Any]:
    """Show one record."""
    reach = access.reach(Permission.USAGE_READ)
    return record_json(lookup.get_record(record_id, reach=reach))


@api.get("/usage")
@access.require(Permission.USAGE_READ)
@api.input(UsageQuery, location="query")
@api.output(UsageList)
@may_be_old
def list_usage(query_data: UsageQuery) -> tuple[dict[str, Any], int, dict[str, str]]:
    """List records, the last recorded first.

    Where billtrack reads from a replica, the newest of the last ten seconds may be missing.
    """
    records = queries.list_records(
        reach=access.reach(Permission.USAGE_READ),
        matching=_filter(query_data),
        calendar=current_calendar(),
        before_id=from_cursor(query_data.cursor),
        limit=query_data.limit + 1,
    )
    return page([record_json(record) for record in records], limit=query_data.limit)


@api.get("/usage/summary")
@access.require(Permission.USAGE_READ)
@api.input(SummaryQuery, location="query")
@api.output(SummaryOut)
@may_be_old
def summarize_usage(query_data: SummaryQuery) -> dict[str, Any]:
    """Total usage by event, and by billing day or month if asked for.

    Where billtrack reads from a replica, records of the last ten seconds may be missing.
    """
    rows = queries.summarize(
        reach=access.reach(Permission.USAGE_READ),
        matching=_filter(query_data),
        calendar=current_calendar(),
        group_by=query_data.group_by,
    )
    return {"data": [_summary_json(row) for row in rows]}


@api.post("/usage/<id:record_id>/reverse")
@access.require(Permission.USAGE_REVERSE, budget=Budget.USAGE)
@api.input(ReverseIn)
@api.output(UsageRecordOut, 201)
@api.doc(responses={200: "It was reversed before: the same reversal", 409: "It is a reversal"})
def reverse_record(
    record_id: int, json_data: ReverseIn
) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Take a record back: store its negation at the same instant.

    It needs no key: a record is reversed once, and asked again, for whatever reason, the answer
    is 200 with the same reversal.
    """
    record, is_new = reverse(
        record_id,
        reason=json_data.reason,
        reach=access.reach(Permission.USAGE_REVERSE),
        actor=access.actor(),
        terms=terms(),
    )
    return record_json(record), 201 if is_new else 200, {"Location": location_of(record)}


def location_of(record: RecordView) -> str:
    """Return where the record can be read."""
    return f"/api/v1/usage/{record.id}"


def record_json(record: RecordView) -> dict[str, Any]:
    """Return the record as the API shows it."""
    return {
        "id": record.id,
        "user_id": record.user_id,
        "event": record.event,
        "quantity": record.quantity,
        "occurred_at": record.occurred_at,
        "created_at": record.created_at,
        "idempotency_key": record.idempotency_key,
        "source": record.source,
        "metadata": record.metadata,
        "reverses_id": record.reverses_id,
        "reversed_by_id": record.reversed_by_id,
    }


def _one_key(in_body: str | None) -> str | None:
    in_header = read_key()
    if in_body is not None and in_header is not None and in_body != in_header:
        raise InvalidError.at("idempotency_key", f"It differs from the {HEADER} header.")
    return in_body if in_body is not None else in_header


def _filter(query: UsageQuery | SummaryQuery) -> RecordFilter:
    days = read_period(month=None, first=query.first, last=query.last, default=None)
    return RecordFilter(user_id=query.user_id, event=query.event, days=days)


def _summary_json(row: queries.SummaryRow) -> dict[str, Any]:
    buckets: dict[str, date | str] = {}
    if row.day is not None:
        buckets["day"] = row.day.isoformat()
    if row.month is not None:
        buckets["month"] = str(row.month)
    return {**buckets, "event": row.event, "quantity": row.quantity, "count": row.count}
