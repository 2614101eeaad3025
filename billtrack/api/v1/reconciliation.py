"""/usage/reconciliation: a sender's totals beside what is stored of it."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.schemas import BillingDate, Body, Query, read_period
from billtrack.platform.extensions import current_calendar, current_settings
from billtrack.platform.limits import Budget
from billtrack.platform.request_head import MAX_BODY, accepts_body
from billtrack.usage.ingest.fields import EventCode, Id
from billtrack.usage.reconciliation.comparing import (
    MAX_TOTAL,
    MAX_TOTALS,
    Comparison,
    SentTotal,
    State,
    reconcile,
)
from billtrack.usage.reconciliation.sources import get_source

SAMPLE: dict[str, JsonValue] = {
    "from": "2026-10-01",
    "to": "2026-10-02",
    "totals": [
        {"day": "2026-10-01", "event": "api_calls", "quantity": 1200000},
        {"day": "2026-10-02", "event": "api_calls", "quantity": 1180000},
    ],
}


class TotalIn(Body):
    """What the sender says it used up on a billing day: net of what it reversed."""

    day: BillingDate
    event: EventCode
    user_id: Id | None = None
    quantity: Annotated[int, Field(ge=0, le=MAX_TOTAL, examples=[1200000])]


class ReconciliationIn(Body):
    """Up to 10,000 totals, all of them per user or none; and what to compare them with.

    `account_id` is the source: the account that recorded; one's own, if left out. `from` and
    `to` are the inclusive billing days to compare, at most 92: those from the first to the last
    total, if left out.
    """

    model_config = ConfigDict(json_schema_extra={"examples": [SAMPLE]})

    totals: Annotated[list[TotalIn], Field(max_length=MAX_TOTALS, fail_fast=True)]
    account_id: Id | None = None
    first: Annotated[BillingDate | None, Field(alias="from")] = None
    last: Annotated[BillingDate | None, Field(alias="to")] = None


class ReconciliationQuery(Query):
    """Which lines to give."""

    lines: Literal["all", "differences"] = "all"


class PeriodOut(BaseModel):
    """The inclusive billing days that were compared."""

    first: Annotated[date, Field(alias="from")]
    last: Annotated[date, Field(alias="to")]
    timezone: str


class ComparisonOut(BaseModel):
    """A total of both sides in base units; `difference` is what is stored less what was sent.

    `sent` is null where the sender has no total.
    """

    day: date
    event: str
    user_id: int | None
    sent: int | None
    stored: int
    difference: int
    state: Literal["equal", "missing_here", "more_here", "only_here"]


class ReconciliationOut(BaseModel):
    """How many lines are equal or differ how, and the lines, those that differ first."""

    account_id: int
    period: PeriodOut
    equal: int
    missing_here: int
    more_here: int
    only_here: int
    lines: list[ComparisonOut]


@api.post("/usage/reconciliation")
@access.require(Permission.JOURNAL_READ, budget=Budget.REPORTS)
@accepts_body(up_to=MAX_BODY)
@api.input(ReconciliationQuery, location="query")
@api.input(ReconciliationIn)
@api.output(ReconciliationOut)
@api.doc(responses={404: "There is no such source", 422: "The totals cannot be compared"})
def reconcile_usage(query_data: ReconciliationQuery, json_data: ReconciliationIn) -> dict[str, Any]:
    """Compare a sender's totals with the stored records of that source.

    Nothing is stored. A late record counts on the day on which the usage occurred, a reversal
    on that of the record that it takes back and for the source of that record, whoever
    reversed it.
    """
    found = reconcile(
        [_total(index, total) for index, total in enumerate(json_data.totals)],
        account_id=(account_id := _source(json_data.account_id)),
        days=read_period(month=None, first=json_data.first, last=json_data.last, default=None),
        calendar=current_calendar(),
    )
    shown = found.lines if query_data.lines == "all" else found.differences
    timezone = current_settings().timezone
    return {
        "account_id": account_id,
        "period": {"from": found.days.first, "to": found.days.last, "timezone": timezone},
        **{state.value: found.counts.get(state, 0) for state in State},
        "lines": [_json(line) for line in shown],
    }


def _source(account_id: int | None) -> int:
    reach = access.reach(Permission.JOURNAL_READ)
    return get_source(account_id or reach.user_id, reach=reach)


def _total(index: int, sent: TotalIn) -> SentTotal:
    return SentTotal(
        day=sent.day,
        event=sent.event,
        user_id=sent.user_id,
        quantity=sent.quantity,
        place=f"totals.{index}",
    )


def _json(line: Comparison) -> dict[str, Any]:
    return {
        "day": line.day,
        "event": line.event,
        "user_id": line.user_id,
        "sent": line.sent,
        "stored": line.stored,
        "difference": line.difference,
        "state": line.state.value,
    }
