"""The parts of a month: runs of days priced alike, and what they cost through a day.

Every amount of a range is a difference of two such costs, so that ranges which tile a month
add up to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from fractions import Fraction
from typing import Generic, TypeVar

from billtrack.billing.pricing.charges import Charge, PriceList
from billtrack.billing.pricing.rating import Rated, rate
from billtrack.core.money import major_units, minor_unit_places, round_half_up
from billtrack.core.periods import DateRange, Month

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PricedSpan:
    """Days on which one price list holds for a customer, both ends inclusive."""

    days: DateRange
    prices: PriceList


@dataclass(frozen=True, slots=True)
class Run(Generic[T]):
    """Consecutive days on which the price lists say the same `value` in one currency."""

    days: DateRange
    currency: str
    value: T


@dataclass(frozen=True, slots=True)
class UsagePart:
    """Days of a month on which a meter has one charge; it is priced on its own usage.

    `charge` is as listed, `terms` is prorated to the part. `quantities` holds the usage of
    each day of the month, from the first.
    """

    days: DateRange
    currency: str
    charge: Charge
    terms: Charge
    quantities: Sequence[int]

    def quantity_in(self, days: DateRange) -> int:
        """Return the usage of inclusive days of the part's month, base units."""
        return sum(self.quantities[days.first.day - 1 : days.last.day])

    def quantity_before(self, day: date) -> int:
        """Return the part's usage up to a day of it, exclusive, base units."""
        return sum(self.quantities[self.days.first.day - 1 : day.day - 1])

    def rated_before(self, day: date) -> Rated:
        """Price the part's usage up to a day of it, exclusive: the minimum is yet to come."""
        return self._rated(self.quantity_before(day), is_over=False)

    def rated_through(self, day: date) -> Rated:
        """Price the part's usage through a day of it, inclusive.

        The minimum enters on the part's last day.
        """
        quantity = self.quantity_in(DateRange(self.days.first, day))
        return self._rated(quantity, is_over=day >= self.days.last)

    def amount_in(self, days: DateRange) -> int:
        """Return the rounded cost of inclusive days, minor units; 0 for days outside the part."""
        own = self.days.intersect(days)
        if own is None:
            return 0
        through = self.rated_through(own.last).amount
        return through - self.rated_before(own.first).amount

    def daily_amounts(self, days: DateRange) -> Iterator[tuple[date, int]]:
        """Yield the rounded cost of each inclusive day of the part, minor units."""
        quantity = self.quantity_before(days.first)
        cost = self._rated(quantity, is_over=False).amount
        for day in days:
            added, previous = self.quantities[day.day - 1], cost
            quantity += added
            if added or day == self.days.last:
                cost = self._rated(quantity, is_over=day == self.days.last).amount
            yield day, cost - previous

    def _rated(self, quantity: int, *, is_over: bool) -> Rated:
        terms = self.terms
        if not is_over and terms.minimum is not None:
            terms = replace(terms, minimum=None)
        return rate(charge=terms, quantity=quantity, currency=self.currency)


@dataclass(frozen=True, slots=True)
class BaseFeePart:
    """Days of a month with one base fee, which accrues by day; `fee` is for a whole month."""

    days: DateRange
    currency: str
    fee: Fraction

    def exact_before(self, day: date) -> Fraction:
        """Return what has accrued up to a day of the part, exclusive, major units."""
        return self._accrued(day.toordinal() - self.days.first.toordinal())

    def exact_through(self, day: date) -> Fraction:
        """Return what has accrued through a day of the part, inclusive, major units."""
        return self._accrued(day.toordinal() - self.days.first.toordinal() + 1)

    def amount_in(self, days: DateRange) -> int:
        """Return the rounded fee of inclusive days, minor units; 0 for days outside the part."""
        own = self.days.intersect(days)
        if own is None:
            return 0
        places = minor_unit_places(self.currency)
        through = round_half_up(self.exact_through(own.last), places=places)
        return through - round_half_up(self.exact_before(own.first), places=places)

    def _accrued(self, days: int) -> Fraction:
        return self.fee * days / Month.of(self.days.first).days


@dataclass(frozen=True, slots=True)
class CommitmentPart:
    """Days of a month with one minimum commitment; `commitment` is for a whole month."""

    days: DateRange
    currency: str
    commitment: Fraction

    def missing(self, counted: int) -> Fraction:
        """Return how far `counted` minor units fall short of it, major units; 0 if they do not."""
        committed = self.commitment * self.days.days / Month.of(self.days.first).days
        return max(Fraction(0), committed - major_units(counted, self.currency))


def spans_within(spans: Sequence[PricedSpan], days: DateRange) -> list[PricedSpan]:
    """Return the spans cut to inclusive days, without those that have none of them."""
    return [
        PricedSpan(own, span.prices)
        for span in spans
        if (own := span.days.intersect(days)) is not None
    ]


def usage_parts(
    spans: Sequence[PricedSpan], *, meter: str, month: Month, daily: Mapping[date, int]
) -> list[UsagePart]:
    """Return the parts of a month of one meter; `spans` are cut to the month."""
    quantities = [daily.get(day, 0) for day in month.dates] if daily else [0] * month.days
    return [
        UsagePart(
            run.days, run.currency, run.value, prorated(run.value, run.days, month), quantities
        )
        for run in _runs(spans, lambda prices: prices.charge_for(meter))
    ]


def base_fee_parts(spans: Sequence[PricedSpan]) -> list[BaseFeePart]:
    """Return the parts with a base fee above 0; `spans` are cut to one month."""
    runs = _runs(spans, lambda prices: prices.base_fee or None)
    return [BaseFeePart(run.days, run.currency, run.value) for run in runs]


def commitment_parts(spans: Sequence[PricedSpan]) -> list[CommitmentPart]:
    """Return the parts with a minimum commitment above 0; `spans` are cut to one month."""
    runs = _runs(spans, lambda prices: prices.minimum_commitment or None)
    return [CommitmentPart(run.days, run.currency, run.value) for run in runs]


def prorated(charge: Charge, days: DateRange, month: Month) -> Charge:
    """Return a charge for inclusive days of a month: allowance (rounded up) and bounds by days.

    Tier bounds and flat fees stay as they are.
    """
    if days.days == month.days:
        return charge
    share = Fraction(days.days, month.days)
    return replace(
        charge,
        included=-(-charge.included * days.days // month.days),
        minimum=None if charge.minimum is None else charge.minimum * share,
        maximum=None if charge.maximum is None else charge.maximum * share,
    )


def _runs(spans: Sequence[PricedSpan], value_of: Callable[[PriceList], T | None]) -> list[Run[T]]:
    """Join consecutive spans that say the same; a span whose value is None ends a run."""
    runs: list[Run[T]] = []
    for span in spans:
        value = value_of(span.prices)
        if value is None:
            continue
        run = Run(span.days, span.prices.currency, value)
        if runs and _continues(runs[-1], run):
            run = replace(run, days=DateRange(runs.pop().days.first, span.days.last))
        runs.append(run)
    return runs


def _continues(run: Run[T], after: Run[T]) -> bool:
    is_next_day = after.days.first.toordinal() == run.days.last.toordinal() + 1
    return is_next_day and after.currency == run.currency and after.value == run.value
