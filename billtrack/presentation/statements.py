"""Statements as plain view data for templates; amounts stay integers or exact text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from billtrack.billing.pricing.lines import Line
from billtrack.billing.pricing.rating import RatedTier
from billtrack.billing.statements.queries import UserStatement
from billtrack.billing.statements.wording import describe
from billtrack.core.money import format_exact
from billtrack.presentation.filters import MeterView
from billtrack.usage.records.models import Meter

COLOURS = 4


def meter_views(meters: Sequence[Meter]) -> dict[str, MeterView]:
    """Return what pages show of each meter, by code; colours go round after four."""
    return {
        meter.code: MeterView(
            code=meter.code,
            name=meter.name,
            base_unit=meter.base_unit,
            display_unit=meter.display_unit,
            factor=meter.display_factor,
            colour=position % COLOURS + 1,
        )
        for position, meter in enumerate(meters)
    }


def statement_view(found: UserStatement, meters: Mapping[str, MeterView]) -> dict[str, Any]:
    """Return the statement as components/statement.html takes it."""
    statement = found.statement
    names = {code: meter.name for code, meter in meters.items()}
    return {
        "currency": found.currency,
        "open": found.is_open,
        "from": statement.period.first,
        "to": statement.period.last,
        "generated_at": found.generated_at,
        "subtotal_minor": None,
        "total_minor": statement.total,
        "lines": [_line_view(line, describe(line, names), meters) for line in statement.lines],
    }


def has_content(found: UserStatement) -> bool:
    """Tell whether anything was used or is due."""
    return any(line.quantity or line.amount for line in found.statement.lines)


def _line_view(line: Line, text: str, meters: Mapping[str, MeterView]) -> dict[str, Any]:
    is_usage = line.kind in {"usage", "unpriced"}
    period = line.period
    return {
        "kind": line.kind,
        "description": text,
        "meter": meters.get(line.meter or ""),
        "quantity": line.quantity if is_usage else None,
        "included": line.included,
        "billable_quantity": line.billable_quantity,
        "model": line.charge.model if line.charge else None,
        "tiers": [_tier_view(tier) for tier in line.tiers],
        "model_amount": format_exact(line.model_amount),
        "applied": line.applied,
        "amount_minor": None if line.kind == "unpriced" else line.amount,
        "plan": line.plan,
        "plan_version": line.plan_version,
        "from": period.first if period else None,
        "to": period.last if period else None,
    }


def _tier_view(tier: RatedTier) -> dict[str, Any]:
    return {
        "above": tier.above,
        "up_to": tier.up_to,
        "quantity": tier.quantity,
        "unit_price": format_exact(tier.unit_price),
        "per": tier.per,
        "flat_fee": format_exact(tier.flat_fee),
        "amount": format_exact(tier.amount),
    }
