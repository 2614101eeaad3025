"""The lines of a statement, each with the numbers that explain it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction
from typing import Literal

from billtrack.billing.pricing.charges import ZERO, Charge
from billtrack.billing.pricing.parts import BaseFeePart, CommitmentPart, PricedSpan, UsagePart
from billtrack.billing.pricing.rating import Applied, Rated, RatedTier
from billtrack.core.money import major_units, minor_unit_places, printed_exact, round_half_up
from billtrack.core.periods import DateRange, Month

LineKind = Literal["usage", "base_fee", "commitment", "unpriced"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line and what explains it.

    The tiers sum to `model_amount`; the printed `exact_amount` plus `rounding` is `amount`.
    `period` is the inclusive days of the range, `part` those of the whole part they belong to;
    both are None in a quote. `charge` is as listed, so not prorated. `monthly_price` is the
    base fee or commitment of a whole month, `counted` the minor units that count against the
    commitment. `amount` is minor units, quantities are base units, all else exact major units.
    """

    id: str
    kind: LineKind
    month: Month | None = None
    period: DateRange | None = None
    part: DateRange | None = None
    meter: str | None = None
    plan: str | None = None
    plan_version: int | None = None
    charge: Charge | None = None
    monthly_price: Fraction | None = None
    counted: int | None = None
    quantity: int = 0
    included: int = 0
    billable_quantity: int = 0
    tiers: tuple[RatedTier, ...] = ()
    model_amount: Fraction = ZERO
    applied: Applied | None = None
    exact_amount: Fraction = ZERO
    rounding: Fraction = ZERO
    amount: int = 0


@dataclass(frozen=True, slots=True)
class MonthView:
    """A month, the days of it that are asked for, and the spans cut to the month."""

    month: Month
    window: DateRange
    spans: Sequence[PricedSpan]

    def span_on(self, day: date) -> PricedSpan:
        """Return the span that holds on a priced day of the month."""
        return next(span for span in self.spans if span.days.contains(day))


def usage_line(view: MonthView, part: UsagePart) -> Line | None:
    """Explain the part's days in the window, or return None when it has none of them."""
    days = part.days.intersect(view.window)
    if days is None:
        return None
    after, before = part.rated_through(days.last), part.rated_before(days.first)
    exact = after.exact_amount - before.exact_amount
    amount = after.amount - before.amount
    prices = view.span_on(days.last).prices
    return Line(
        id=f"{view.month}/usage/{part.charge.meter}/{part.days.first}",
        kind="usage",
        month=view.month,
        period=days,
        part=part.days,
        meter=part.charge.meter,
        plan=prices.plan,
        plan_version=prices.version,
        charge=part.charge,
        quantity=after.quantity - before.quantity,
        included=max(0, after.included - before.quantity),
        billable_quantity=after.billable_quantity - before.billable_quantity,
        tiers=_tier_differences(after.tiers, before.tiers),
        model_amount=after.model_amount - before.model_amount,
        applied=after.applied,
        exact_amount=exact,
        rounding=_rounding(exact, amount, part.currency),
        amount=amount,
    )


def _tier_differences(
    after: tuple[RatedTier, ...], before: tuple[RatedTier, ...]
) -> tuple[RatedTier, ...]:
    """Return by tier what `after` has more than `before`; tiers that are alike drop out."""
    if not before:
        return after
    new = {tier.above: tier for tier in after}
    old = {tier.above: tier for tier in before}
    differences = []
    for above in sorted(new.keys() | old.keys()):
        untouched = _untouched(new.get(above) or old[above])
        differences.append(_difference(new.get(above, untouched), old.get(above, untouched)))
    return tuple(tier for tier in differences if tier.quantity or tier.flat_fee or tier.amount)


def _untouched(tier: RatedTier) -> RatedTier:
    return replace(tier, quantity=0, flat_fee=ZERO, amount=ZERO)


def _difference(new: RatedTier, old: RatedTier) -> RatedTier:
    return replace(
        new,
        quantity=new.quantity - old.quantity,
        flat_fee=new.flat_fee - old.flat_fee,
        amount=new.amount - old.amount,
    )


def unpriced_lines(
    view: MonthView, meter: str, parts: Sequence[UsagePart], daily: Mapping[date, int]
) -> list[Line]:
    """Return the line of the meter's usage in the window that no part prices, if there is any."""
    quantity = sum(daily.get(day, 0) for day in view.window) if daily else 0
    for part in parts:
        days = part.days.intersect(view.window)
        quantity -= part.quantity_in(days) if days else 0
    if quantity == 0:
        return []
    return [
        Line(
            id=f"{view.month}/unpriced/{meter}",
            kind="unpriced",
            month=view.month,
            period=view.window,
            meter=meter,
            quantity=quantity,
        )
    ]


def base_fee_line(view: MonthView, part: BaseFeePart) -> Line | None:
    """Explain the part's days in the window, or return None when it has none of them."""
    days = part.days.intersect(view.window)
    if days is None:
        return None
    exact = part.exact_through(days.last) - part.exact_before(days.first)
    amount = part.amount_in(days)
    prices = view.span_on(days.last).prices
    return Line(
        id=f"{view.month}/base_fee/{part.days.first}",
        kind="base_fee",
        month=view.month,
        period=days,
        part=part.days,
        plan=prices.plan,
        plan_version=prices.version,
        monthly_price=part.fee,
        model_amount=exact,
        exact_amount=exact,
        rounding=_rounding(exact, amount, part.currency),
        amount=amount,
    )


def commitment_lines(
    view: MonthView,
    part: CommitmentPart,
    usage: Sequence[UsagePart],
    fees: Sequence[BaseFeePart],
) -> list[Line]:
    """Return the top-up of a part that ends in the window, if its days fall short."""
    counted = sum(priced.amount_in(part.days) for priced in usage)
    counted += sum(fee.amount_in(part.days) for fee in fees)
    missing = part.missing(counted)
    amount = round_half_up(missing, places=minor_unit_places(part.currency))
    if amount == 0:
        return []
    prices = view.span_on(part.days.last).prices
    return [
        Line(
            id=f"{view.month}/commitment/{part.days.first}",
            kind="commitment",
            month=view.month,
            period=part.days,
            part=part.days,
            plan=prices.plan,
            plan_version=prices.version,
            monthly_price=part.commitment,
            counted=counted,
            model_amount=missing,
            exact_amount=missing,
            rounding=_rounding(missing, amount, part.currency),
            amount=amount,
        )
    ]


def quote_line(charge: Charge, rated: Rated, currency: str) -> Line:
    """Explain a quantity that was priced as one whole period."""
    return Line(
        id=f"usage/{charge.meter}",
        kind="usage",
        meter=charge.meter,
        charge=charge,
        quantity=rated.quantity,
        included=rated.included,
        billable_quantity=rated.billable_quantity,
        tiers=rated.tiers,
        model_amount=rated.model_amount,
        applied=rated.applied,
        exact_amount=rated.exact_amount,
        rounding=_rounding(rated.exact_amount, rated.amount, currency),
        amount=rated.amount,
    )


def _rounding(exact: Fraction, amount: int, currency: str) -> Fraction:
    """Return what closes the line: the amount minus the exact amount as it is printed."""
    return major_units(amount, currency) - printed_exact(exact)
