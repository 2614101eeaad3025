"""Count a month over all customers: every amount is a sum of their statements."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from billtrack.accounts.users.queries import list_customers
from billtrack.billing.month_totals.figures import (
    CustomerCost,
    Forecast,
    MonthOverview,
    RankedCustomer,
    Summary,
)
from billtrack.billing.month_totals.months import list_month_totals
from billtrack.billing.month_totals.reading import read_usage, users_with_usage
from billtrack.billing.plans.queries import price_spans
from billtrack.billing.pricing.forecast import WINDOW, expected_month, likely_miss
from billtrack.billing.pricing.parts import PricedSpan
from billtrack.billing.pricing.statement import DailyUsage, Statement, daily_costs, price_statement
from billtrack.billing.statements.queries import DailyCosts, Terms
from billtrack.core.periods import DateRange, Month
from billtrack.usage.records.meters import list_meters

CHUNK = 500
"""Customers whose usage is held in memory at once."""

TOP = 10
"""Customers of each currency in the ranking."""


@dataclass(frozen=True, slots=True)
class Span:
    """The days to count, and the days that what is counted is compared with and drawn from."""

    days: DateRange
    before_days: DateRange

    @property
    def month(self) -> Month:
        """The month that is counted."""
        return Month.of(self.days.first)

    @property
    def history(self) -> DateRange:
        """The days whose usage is needed: of this month, the one before, and eight weeks."""
        first = min(self.before_days.first, self.days.last - timedelta(days=WINDOW))
        return DateRange(first, self.days.last)

    @property
    def priced(self) -> DateRange:
        """The whole months whose prices are needed."""
        return DateRange(self.before_days.first, self.month.last)


@dataclass(slots=True)
class _Sums:
    """What the statements read so far add up to, by currency; minor units."""

    revenue: Counter[str] = field(default_factory=Counter)
    before: Counter[str] = field(default_factory=Counter)
    forecast: Counter[str] = field(default_factory=Counter)
    coming: Counter[tuple[str, str]] = field(default_factory=Counter)
    quantities: dict[tuple[str, str], Counter[date]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    daily: dict[str, DailyCosts] = field(default_factory=dict)
    costs: dict[int, CustomerCost] = field(default_factory=dict)


def count_month(days: DateRange, *, terms: Terms) -> Summary:
    """Return the figures of the inclusive days, which begin a month and end today.

    Customers of the ranking have no names yet. Reads in a fixed number of queries for each
    500 customers.
    """
    span = Span(days, _same_days_before(days))
    customers = {user.id for user in list_customers()}
    using, used = users_with_usage(days), users_with_usage(span.before_days)
    meters = {meter.id: meter.code for meter in list_meters()}
    codes = list(meters.values())
    sums = _Sums()
    everybody = sorted(customers | using | used)
    for start in range(0, len(everybody), CHUNK):
        chunk = everybody[start : start + CHUNK]
        usage = read_usage(chunk, span.history, meters=meters)
        spans = price_spans(chunk, span.priced)
        for user_id in chunk:
            priced = _Priced(spans[user_id], usage[user_id], codes)
            if user_id in customers or user_id in using:
                _add_month(sums, span, user_id, priced, terms)
            if user_id in customers or user_id in used:
                _add_total(sums.before, priced.state(span.before_days), terms)
    return Summary(_overview(sums, span, customers, using, terms), sums.costs)


@dataclass(frozen=True, slots=True)
class _Priced:
    """One customer's prices and usage, and what they come to."""

    spans: Sequence[PricedSpan]
    usage: DailyUsage
    meters: Sequence[str]

    def state(self, days: DateRange) -> Statement:
        return price_statement(period=days, spans=self.spans, usage=self.usage, meters=self.meters)

    def expect(self, today: date) -> Statement:
        usage = expected_month(self.usage, today=today)
        return price_statement(
            period=Month.of(today).dates, spans=self.spans, usage=usage, meters=self.meters
        )

    def by_day(self, days: DateRange) -> DailyCosts:
        return daily_costs(period=days, spans=self.spans, usage=self.usage, meters=self.meters)


def _add_month(sums: _Sums, span: Span, user_id: int, priced: _Priced, terms: Terms) -> None:
    found, expected = priced.state(span.days), priced.expect(span.days.last)
    currency = _add_total(sums.revenue, found, terms)
    _add_total(sums.forecast, expected, terms)
    unpriced = sum(line.kind == "unpriced" for line in found.lines)
    sums.costs[user_id] = CustomerCost(found.total, currency, expected.total, unpriced)
    for statement, sign in ((expected, 1), (found, -1)):
        for line in statement.lines:
            if line.kind == "usage" and line.meter is not None:
                sums.coming[currency, line.meter] += sign * line.amount
    for meter, daily in priced.usage.items():
        history = sums.quantities[currency, meter]
        for day, quantity in daily.items():
            history[day] += quantity
    by_meter = sums.daily.setdefault(currency, {})
    for meter, by_day in priced.by_day(span.days).items():
        total = by_meter.setdefault(meter, dict.fromkeys(span.days, 0))
        for day, minor in by_day.items():
            total[day] += minor


def _add_total(totals: Counter[str], statement: Statement, terms: Terms) -> str:
    """Add a statement that says anything; return its currency."""
    currency = statement.currency or terms.default_currency
    if statement.lines:
        totals[currency] += statement.total
    return currency


def _overview(
    sums: _Sums,
    span: Span,
    customers: set[int],
    using: set[int],
    terms: Terms,
) -> MonthOverview:
    return MonthOverview(
        taken_at=terms.now,
        days=span.days,
        revenue=dict(sums.revenue),
        before=dict(sums.before),
        before_days=span.before_days,
        forecast={
            currency: Forecast(minor, _band(sums, span, currency))
            for currency, minor in sums.forecast.items()
        },
        customers=len(customers),
        with_usage=len(using & customers),
        unpriced_lines=sum(cost.unpriced for cost in sums.costs.values()),
        unpriced_customers=sum(cost.unpriced > 0 for cost in sums.costs.values()),
        daily_costs=sums.daily,
        ranking=_ranking(sums.costs, span),
    )


def _band(sums: _Sums, span: Span, currency: str) -> int:
    """Return by how much the usage still to come may miss, each meter by its own past."""
    past = list(span.history)[:-1]
    return sum(
        likely_miss(coming, [sums.quantities[currency, meter][day] for day in past])
        for (own, meter), coming in sums.coming.items()
        if own == currency
    )


def _ranking(costs: Mapping[int, CustomerCost], span: Span) -> list[RankedCustomer]:
    ordered = sorted(costs.items(), key=lambda item: (item[1].currency, -item[1].minor, item[0]))
    places: Counter[str] = Counter()
    top: list[tuple[int, CustomerCost]] = []
    for user_id, cost in ordered:
        places[cost.currency] += 1
        if cost.minor > 0 and places[cost.currency] <= TOP:
            top.append((user_id, cost))
    months = list_month_totals([user_id for user_id, _ in top], span.days.last)
    return [
        RankedCustomer(
            user_id,
            "",
            cost.minor,
            cost.currency,
            cost.forecast,
            [m.minor if m.currency == cost.currency else 0 for m in months[user_id]],
        )
        for user_id, cost in top
    ]


def _same_days_before(days: DateRange) -> DateRange:
    month = Month.of(days.first).previous
    last = min(month.first + timedelta(days=days.last.day - 1), month.last)
    return DateRange(month.first, last)
