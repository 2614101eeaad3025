"""Statements as plain data for JSON, in the API and in documents alike."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from billtrack.billing.pricing.lines import Line
from billtrack.billing.pricing.rating import RatedTier
from billtrack.billing.statements.queries import UserStatement
from billtrack.billing.statements.wording import describe
from billtrack.core.money import format_exact, format_minor
from billtrack.core.periods import DateRange
from billtrack.usage.records.models import Meter


def statement_json(
    found: UserStatement, *, meters: Sequence[Meter], timezone: str
) -> dict[str, Any]:
    """Return the statement: money as text in major units, dates and instants as they are."""
    statement, currency = found.statement, found.currency
    return {
        "user_id": found.user_id,
        "status": "open" if found.is_open else "closed",
        "currency": currency,
        "generated_at": found.generated_at,
        "period": {
            **_dates_json(statement.period),
            "timezone": timezone,
            "starts_at": found.starts_at,
            "ends_at": found.ends_at,
        },
        "lines": [line_json(line, currency, meters) for line in statement.lines],
        "subtotal": format_minor(statement.subtotal, currency),
        "total": format_minor(statement.total, currency),
    }


def line_json(line: Line, currency: str, meters: Sequence[Meter]) -> dict[str, Any]:
    """Return a line of a statement or a quote, with the arithmetic that leads to its amount."""
    meter = next((meter for meter in meters if meter.code == line.meter), None)
    names = {meter.code: meter.name for meter in meters}
    return {
        "id": line.id,
        "kind": line.kind,
        "description": describe(line, names),
        "meter": line.meter,
        "unit": meter.base_unit if meter else None,
        "period": _dates_json(line.period) if line.period else None,
        "plan": line.plan,
        "plan_version": line.plan_version,
        "quantity": line.quantity,
        "included": line.included,
        "billable_quantity": line.billable_quantity,
        "model": line.charge.model if line.charge else None,
        "tiers": [_tier_json(tier) for tier in line.tiers],
        "model_amount": format_exact(line.model_amount),
        "applied": line.applied,
        "exact_amount": format_exact(line.exact_amount),
        "rounding": format_exact(line.rounding),
        "amount": format_minor(line.amount, currency),
    }


def _tier_json(tier: RatedTier) -> dict[str, Any]:
    return {
        "above": tier.above,
        "up_to": tier.up_to,
        "quantity": tier.quantity,
        "unit_price": format_exact(tier.unit_price),
        "per": tier.per,
        "flat_fee": format_exact(tier.flat_fee),
        "amount": format_exact(tier.amount),
    }


def _dates_json(days: DateRange) -> dict[str, date]:
    return {"from": days.first, "to": days.last}
