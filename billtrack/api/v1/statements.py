"""/users/:id/statement and /quote: what usage costs, every line explained."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.schemas import BillingDate, Body, MonthText, Query, current_month, read_period
from billtrack.billing.pricing.charges import Charge, InvalidCharge, parse_charge
from billtrack.billing.pricing.statement import price_usage
from billtrack.billing.statements.as_json import line_json, statement_json
from billtrack.billing.statements.queries import Terms, get_statement
from billtrack.core.errors import FieldError, InvalidError
from billtrack.core.money import format_minor, minor_unit_places
from billtrack.platform.extensions import current_calendar, current_settings
from billtrack.platform.request_head import MAX_LIST_BODY, accepts_body
from billtrack.usage.ingest.fields import EventCode
from billtrack.usage.records.meters import list_meters
from billtrack.usage.records.models import MAX_TOTAL

MAX_CHARGES = 200
SAMPLE_CHARGE = {"meter": "api_calls", "model": "per_unit", "per": 1000, "unit_price": "0.50"}


class DatesOut(BaseModel):
    """Inclusive billing dates."""

    first: date = Field(alias="from")
    last: date = Field(alias="to")


class PeriodOut(DatesOut):
    """Inclusive billing dates, and the half-open instants that they stand for."""

    timezone: str
    starts_at: datetime
    ends_at: datetime


class TierOut(BaseModel):
    """The share of a tier: above the one before, up to and including its own bound."""

    above: int
    up_to: int | None
    quantity: int
    unit_price: str
    per: int
    flat_fee: str
    amount: str


class LineOut(BaseModel):
    """One line. `exact_amount` plus `rounding` is `amount`."""

    id: str
    kind: Literal["usage", "base_fee", "commitment", "discount", "adjustment", "tax", "unpriced"]
    description: str
    meter: str | None
    unit: str | None
    period: DatesOut | None = None
    plan: str | None = None
    plan_version: int | None = None
    quantity: int
    included: int
    billable_quantity: int
    model: str | None
    tiers: list[TierOut]
    model_amount: str
    applied: Literal["minimum", "maximum"] | None
    exact_amount: str
    rounding: str
    amount: str


class StatementOut(BaseModel):
    """What a period costs one user; amounts are in major units of the currency."""

    user_id: int
    status: Literal["open", "closed"]
    currency: str
    generated_at: datetime
    period: PeriodOut
    lines: list[LineOut]
    subtotal: str
    total: str


class QuoteOut(BaseModel):
    """What quantities would cost."""

    currency: str
    lines: list[LineOut]
    subtotal: str
    total: str


class StatementQuery(Query):
    """Which period: a month, or inclusive dates; the current month if neither is given."""

    month: MonthText | None = None
    first: Annotated[BillingDate | None, Field(alias="from")] = None
    last: Annotated[BillingDate | None, Field(alias="to")] = None


class QuoteIn(Body):
    """Prices and quantities; nothing is stored."""

    currency: Annotated[str, Field(examples=["USD"])]
    charges: Annotated[
        list[dict[str, Any]],
        Field(max_length=MAX_CHARGES, fail_fast=True, examples=[[SAMPLE_CHARGE]]),
    ]
    usage: Annotated[
        dict[EventCode, Annotated[int, Field(ge=0, le=MAX_TOTAL)]],
        Field(max_length=MAX_CHARGES, fail_fast=True, examples=[{"api_calls": 500000}]),
    ]

    @field_validator("currency")
    @classmethod
    def _known(cls, value: str) -> str:
        minor_unit_places(value)
        return value


@api.get("/users/<id:user_id>/statement")
@access.require(Permission.STATEMENTS_READ)
@api.input(StatementQuery, location="query")
@api.output(StatementOut)
def show_statement(user_id: int, query_data: StatementQuery) -> dict[str, Any]:
    """Show what a period costs a user, with the arithmetic of every line."""
    now = datetime.now(UTC)
    days = read_period(
        month=query_data.month,
        first=query_data.first,
        last=query_data.last,
        default=current_month(now),
    )
    if days is None:
        raise RuntimeError("a default month always gives days")
    terms = Terms(current_calendar(), current_settings().currency, now)
    reach = access.reach(Permission.STATEMENTS_READ)
    return statement_json(
        get_statement(user_id, days, reach=reach, terms=terms),
        meters=list_meters(),
        timezone=current_settings().timezone,
    )


@api.post("/quote")
@access.require(Permission.QUOTE)
@accepts_body(up_to=MAX_LIST_BODY)
@api.input(QuoteIn)
@api.output(QuoteOut)
def quote(json_data: QuoteIn) -> dict[str, Any]:
    """Price quantities as one whole month, without storing anything."""
    charges = _charges(json_data.charges)
    priced = price_usage(currency=json_data.currency, charges=charges, usage=json_data.usage)
    meters = list_meters()
    return {
        "currency": priced.currency,
        "lines": [line_json(line, priced.currency, meters) for line in priced.lines],
        "subtotal": format_minor(priced.subtotal, priced.currency),
        "total": format_minor(priced.total, priced.currency),
    }


def _charges(definitions: list[dict[str, Any]]) -> list[Charge]:
    charges = []
    errors: list[FieldError] = []
    for index, definition in enumerate(definitions):
        try:
            charges.append(parse_charge(definition))
        except InvalidCharge as error:
            errors += [
                FieldError(f"charges.{index}.{wrong.field}", wrong.detail) for wrong in error.errors
            ]
    if errors:
        raise InvalidError("The charges have invalid fields.", errors=errors)
    return charges
