"""The overview of a month as plain view data for templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

from billtrack.billing.month_totals.figures import MonthOverview, RankedCustomer
from billtrack.core.money import minor_unit_places
from billtrack.core.periods import Month
from billtrack.presentation.charts import Chart, Series, daily_chart
from billtrack.presentation.filters import MeterView, money
from billtrack.presentation.lines import sparkline

TOP_CUSTOMERS = 6
"""Customers that are ranked; with several currencies, about as many in all."""

WEEK = 7
PATTERN_FROM = 2 * WEEK
"""Whole days of the month from which weekdays are drawn apart."""


def revenue_rows(found: MonthOverview) -> list[dict[str, Any]]:
    """Return what each currency came to, and to what it is compared."""
    return [
        {
            "currency": currency,
            "minor": minor,
            "before_minor": found.before.get(currency, 0),
            "before_first": found.before_days.first,
            "before_last": found.before_days.last,
        }
        for currency, minor in sorted(found.revenue.items())
    ]


def forecast_rows(found: MonthOverview) -> list[dict[str, Any]]:
    """Return what the whole month will probably come to in each currency."""
    return [
        {"currency": currency, "minor": forecast.minor, "band": forecast.band}
        for currency, forecast in sorted(found.forecast.items())
    ]


def ranking_rows(found: MonthOverview, *, is_open: bool) -> list[dict[str, Any]]:
    """Return the customers with the highest costs; `is_open`: the month is still running."""
    currencies = {customer.currency for customer in found.ranking}
    most = max(2, TOP_CUSTOMERS // max(len(currencies), 1))
    places: dict[str, int] = {}
    rows = []
    for customer in found.ranking:
        places[customer.currency] = places.get(customer.currency, 0) + 1
        if places[customer.currency] <= most:
            rows.append(_ranking_row(customer, is_open=is_open))
    return rows


def overview_charts(
    found: MonthOverview, meters: Mapping[str, MeterView], *, is_open: bool
) -> list[Chart]:
    """Return the cost by day for each currency; while the month runs, with the days to come.

    What is used stands in the colours of its events. Everything by which the forecast is above
    the revenue so far is spread in grey over the days to come, so the grey adds up to it.
    """
    charts = [
        _chart(found, currency, meters, is_open=is_open) for currency in sorted(found.daily_costs)
    ]
    return [chart for chart in charts if chart is not None]


def _chart(
    found: MonthOverview, currency: str, meters: Mapping[str, MeterView], *, is_open: bool
) -> Chart | None:
    costs = found.daily_costs[currency]
    dates = list(Month.of(found.days.first).dates if is_open else found.days)
    series = [
        Series(meter.name, meter.colour, [costs.get(code, {}).get(day, 0) for day in dates])
        for code, meter in meters.items()
        if any(costs.get(code, {}).values())
    ]
    if not series:
        return None
    known = [sum(one.values[place] for one in series) for place in range(found.days.days)]
    coming = _coming(found, currency) if is_open else 0
    if coming > 0 and len(known) < len(dates):
        ahead = _spread(coming, known, dates)
        series.append(Series("Forecast", "forecast", [0] * len(known) + ahead))
    return daily_chart(
        dates,
        series,
        title=f"Usage cost by day, {currency}",
        tell=partial(money, currency=currency),
        factor=10 ** minor_unit_places(currency),
    )


def _coming(found: MonthOverview, currency: str) -> int:
    forecast = found.forecast.get(currency)
    return forecast.minor - found.revenue.get(currency, 0) if forecast else 0


def _spread(coming: int, known: Sequence[int], dates: Sequence[date]) -> list[int]:
    """Spread an amount over the days after the known ones, by weekday where enough are known.

    The last of the known days is today, which is not over and so tells nothing.
    """
    whole, ahead = known[:-1], range(len(known), len(dates))
    weights = [1 for _ in ahead]
    if len(whole) >= PATTERN_FROM:
        alike = [whole[place % WEEK :: WEEK] for place in ahead]
        weights = [max(0, 1000 * sum(days) // len(days)) for days in alike]
    if not any(weights):
        weights = [1 for _ in ahead]
    total = sum(weights)
    return [
        coming * end // total - coming * start // total
        for start, end in pairwise(accumulate(weights, initial=0))
    ]


def _ranking_row(customer: RankedCustomer, *, is_open: bool) -> dict[str, Any]:
    # A month that has only begun would always look like a fall.
    newest = customer.forecast if is_open else customer.months[-1]
    months = [*customer.months[:-1], newest]
    told = f"{len(months)} months, the last {money(newest, customer.currency)}"
    return {
        "id": customer.user_id,
        "name": customer.name,
        "minor": customer.minor,
        "currency": customer.currency,
        "forecast_minor": customer.forecast if is_open else None,
        "spark": sparkline(months, title=told + (" as forecast" if is_open else "")),
    }
