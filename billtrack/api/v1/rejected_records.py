"""/rejected-records: usage that was refused, why, and sending it once more."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.api.v1.blueprint import api
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
from billtrack.api.v1.usage import UsageRecordOut, location_of, record_json
from billtrack.platform.extensions import current_calendar
from billtrack.platform.limits import Budget
from billtrack.usage.ingest.fields import EventCode, Id, Instant, Metadata, Quantity, UsageKey
from billtrack.usage.replay import Replayer, replay
from billtrack.usage.sources.rejected import (
    RejectedFilter,
    RejectedView,
    get_rejected,
    list_rejected,
)

Code = Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,63}$", examples=["unknown_user"])]


class ProblemOut(BaseModel):
    """What is wrong with a field."""

    field: str
    detail: str


class RejectedOut(BaseModel):
    """A record that was refused.

    `item` is what was sent; `whole` unless secrets or what exceeds 8 KiB were left out of it. Sent
    again under its idempotency key it is the same entry, and `times` says how often it came.
    """

    id: int
    source_id: int
    origin: str | None
    item: JsonValue
    whole: bool
    code: str
    detail: str
    errors: list[ProblemOut]
    first_received_at: datetime
    last_received_at: datetime
    times: int
    record_id: int | None
    replayed_at: datetime | None


class RejectedList(BaseModel):
    """Refused records, the newest first."""

    data: list[RejectedOut]
    next_cursor: str | None


class RejectedQuery(Query):
    """Which refused records to list; `from` and `to` are the days on which they came last."""

    source_id: QueryId | None = None
    code: Code | None = None
    status: Literal["open", "replayed"] | None = None
    first: Annotated[BillingDate | None, Field(alias="from")] = None
    last: Annotated[BillingDate | None, Field(alias="to")] = None
    limit: Limit = 50
    cursor: Cursor | None = None


class ReplayIn(Body):
    """What to change before it is sent once more; without `occurred_at`, it is when it came."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"event": "api_calls"}]})

    quantity: Quantity | None = None
    event: EventCode | None = None
    user_id: Id | None = None
    occurred_at: Instant | None = None
    metadata: Metadata | None = None
    idempotency_key: Annotated[
        UsageKey | None,
        Field(description="Only where there is none that can be used, or it is taken."),
    ] = None


@api.get("/rejected-records")
@access.require(Permission.JOURNAL_READ)
@api.input(RejectedQuery, location="query")
@api.output(RejectedList)
def list_rejected_records(query_data: RejectedQuery) -> tuple[dict[str, Any], int, dict[str, str]]:
    """List usage records that were refused in the last 30 days, the newest first.

    Of a source and hour the first 100 are kept; those of a batch with `on_error=reject` are not.
    """
    rejected = list_rejected(
        reach=access.reach(Permission.JOURNAL_READ),
        matching=_filter(query_data),
        before_id=from_cursor(query_data.cursor),
        limit=query_data.limit + 1,
    )
    return page([rejected_json(one) for one in rejected], limit=query_data.limit)


@api.get("/rejected-records/<id:rejected_id>")
@access.require(Permission.JOURNAL_READ)
@api.output(RejectedOut)
def show_rejected_record(rejected_id: int) -> dict[str, Any]:
    """Show one refused record."""
    return rejected_json(get_rejected(rejected_id, reach=access.reach(Permission.JOURNAL_READ)))


@api.post("/rejected-records/<id:rejected_id>/replay")
@access.require(Permission.JOURNAL_REPLAY, budget=Budget.USAGE)
@api.input(ReplayIn)
@api.output(UsageRecordOut, 201)
@api.doc(
    responses={
        200: "It was replayed before, or its key was used with the same content: that record",
        409: "The key is used with other content, or the item is not whole",
        422: "Invalid fields, or it is refused again",
    }
)
def replay_rejected_record(
    rejected_id: int, json_data: ReplayIn
) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Send a refused record once more, as it was or changed, as usage of its source.

    Under its own idempotency key, so it is billed once, even if the source sends it again.
    """
    changes = json_data.model_dump(exclude_none=True)
    if json_data.occurred_at is not None:
        changes["occurred_at"] = json_data.occurred_at.isoformat()
    record, is_new = replay(rejected_id, changes=changes, by=replayer())
    return record_json(record), 201 if is_new else 200, {"Location": location_of(record)}


def replayer() -> Replayer:
    """Return who sends once more by this request."""
    return Replayer(
        reach=access.reach(Permission.JOURNAL_REPLAY),
        actor=access.actor(),
        now=datetime.now(UTC),
    )


def rejected_json(rejected: RejectedView) -> dict[str, Any]:
    """Return the refused record as the API shows it."""
    return {
        "id": rejected.id,
        "source_id": rejected.account_id,
        "origin": rejected.origin,
        "item": rejected.item,
        "whole": rejected.is_whole,
        "code": rejected.code,
        "detail": rejected.detail,
        "errors": [{"field": one.field, "detail": one.detail} for one in rejected.errors],
        "first_received_at": rejected.first_received_at,
        "last_received_at": rejected.last_received_at,
        "times": rejected.times,
        "record_id": rejected.record_id,
        "replayed_at": rejected.replayed_at,
    }


def _filter(query: RejectedQuery) -> RejectedFilter:
    starts_at, ends_at = _span(query.first, query.last)
    return RejectedFilter(
        account_id=query.source_id,
        code=query.code,
        is_open=None if query.status is None else query.status == "open",
        starts_at=starts_at,
        ends_at=ends_at,
    )


def _span(first: date | None, last: date | None) -> tuple[datetime | None, datetime | None]:
    days = read_period(month=None, first=first, last=last, default=None)
    return current_calendar().period_of(days) if days else (None, None)
