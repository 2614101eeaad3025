"""A period becomes lines and totals; any range of days costs a difference of two costs.

Rounded(cost of the month through the range's last day) - rounded(cost through the day before
its first), per line and month: ranges that tile a month add up to it to the minor unit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from billtrack.billing.pricing.charges import Charge, require_one_charge_per_meter
from billtrack.billing.pricing.lines import (
    Line,
    MonthView,
    base_fee_line,
    commitment_lines,
    quote_line,
    unpriced_lines,
    usage_line,
)
from billtrack.billing.pricing.parts import (
    PricedSpan,
    UsagePart,
    base_fee_parts,
    commitment_parts,
    spans_within,
    usage_parts,
)
from billtrack.billing.pricing.rating import rate
from billtrack.core.errors import InvalidError
from billtrack.core.periods import DateRange

DailyUsage = Mapping[str, Mapping[date, int]]


class MixedCurrencies(InvalidError):
    """The range is priced in two currencies, which do not add up."""

    code = "mixed_currencies"


@dataclass(frozen=True, slots=True)
class Statement:
    """What inclusive billing dates cost; amounts are minor units of `currency`.

    `currency` is None when no price list holds on any day of the period.
    """

    period: DateRange
    currency: str | None
    lines: tuple[Line, ...]
    subtotal: int
    total: int


@dataclass(frozen=True, slots=True)
class Quote:
    """What quantities would cost as one whole period; amounts are minor units."""

    currency: str
    lines: tuple[Line, ...]
    subtotal: int
    total: int


def price_statement(
    *,
    period: DateRange,
    spans: Sequence[PricedSpan],
    usage: DailyUsage,
    meters: Sequence[str],
) -> Statement:
    """Price inclusive billing dates, every line explained, months ascending.

    `spans` ascend without overlapping and cover the whole months that the period touches;
    `usage` is base units by meter and day, from the first day of the first month through the
    period's last day, where a missing day is 0. Lines follow the order of `meters`; others
    come after them by name. Raises MixedCurrencies, and ValueError for overlapping spans.
    """
    _require_ascending(spans)
    currency = _only_currency(spans_within(spans, period))
    lines: list[Line] = []
    for month, window in period.months():
        held = spans_within(spans, month.dates)
        order = _all_meters(meters, held, usage)
        lines += _month_lines(MonthView(month, window, held), order, usage)
    total = sum(line.amount for line in lines)
    return Statement(period, currency, tuple(lines), subtotal=total, total=total)


def daily_costs(
    *,
    period: DateRange,
    spans: Sequence[PricedSpan],
    usage: DailyUsage,
    meters: Sequence[str],
) -> dict[str, dict[date, int]]:
    """Return the rounded usage cost of each inclusive day by meter, minor units.

    Takes and raises what price_statement does; the days of a meter sum to its usage lines.
    Days without a price cost 0.
    """
    _require_ascending(spans)
    _only_currency(spans_within(spans, period))
    costs = {meter: dict.fromkeys(period, 0) for meter in _all_meters(meters, spans, usage)}
    for month, window in period.months():
        held = spans_within(spans, month.dates)
        for meter, by_day in costs.items():
            for part in usage_parts(held, meter=meter, month=month, daily=usage.get(meter, {})):
                own = part.days.intersect(window)
                if own is not None:
                    by_day.update(part.daily_amounts(own))
    return costs


def price_usage(*, currency: str, charges: Sequence[Charge], usage: Mapping[str, int]) -> Quote:
    """Price quantities by meter, base units, as one whole period: nothing is prorated.

    Every charge yields a line, also without usage. Raises InvalidCharge if two charges price
    the same meter and ValueError for an unknown currency.
    """
    require_one_charge_per_meter(charges)
    lines = []
    for charge in charges:
        rated = rate(charge=charge, quantity=usage.get(charge.meter, 0), currency=currency)
        lines.append(quote_line(charge, rated, currency))
    priced = {charge.meter for charge in charges}
    lines += [
        Line(id=f"unpriced/{meter}", kind="unpriced", meter=meter, quantity=quantity)
        for meter, quantity in sorted(usage.items())
        if quantity and meter not in priced
    ]
    total = sum(line.amount for line in lines)
    return Quote(currency, tuple(lines), subtotal=total, total=total)


def _require_ascending(spans: Sequence[PricedSpan]) -> None:
    for before, after in pairwise(spans):
        if after.days.first <= before.days.last:
            raise ValueError(f"spans overlap or descend: {before.days}, then {after.days}")


def _only_currency(spans: Sequence[PricedSpan]) -> str | None:
    """Return the currency of all spans, None without any; raises MixedCurrencies."""
    for before, after in pairwise(spans):
        old, new = before.prices.currency, after.prices.currency
        if old != new:
            raise MixedCurrencies(
                f"The currency changes from {old} to {new} on {after.days.first}: "
                "ask for two ranges, one before that day and one from it."
            )
    return spans[0].prices.currency if spans else None


def _all_meters(meters: Sequence[str], spans: Sequence[PricedSpan], usage: DailyUsage) -> list[str]:
    """Return the ordered meters and then all others that are used or priced, by name."""
    others = {charge.meter for span in spans for charge in span.prices.charges}
    others.update(usage)
    return [*dict.fromkeys(meters), *sorted(others.difference(meters))]


def _month_lines(view: MonthView, meters: Sequence[str], usage: DailyUsage) -> list[Line]:
    lines: list[Line] = []
    unpriced: list[Line] = []
    parts: list[UsagePart] = []
    for meter in meters:
        daily = usage.get(meter, {})
        own = usage_parts(view.spans, meter=meter, month=view.month, daily=daily)
        lines += [line for part in own if (line := usage_line(view, part)) is not None]
        unpriced += unpriced_lines(view, meter, own, daily)
        parts += own
    fees = base_fee_parts(view.spans)
    lines += [line for fee in fees if (line := base_fee_line(view, fee)) is not None]
    for commitment in commitment_parts(view.spans):
        if view.window.contains(commitment.days.last):
            lines += commitment_lines(view, commitment, parts, fees)
    return lines + unpriced
