"""Daily costs as charts, for pages and documents."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from billtrack.billing.statements.queries import DailyCosts
from billtrack.core.money import minor_unit_places
from billtrack.core.periods import DateRange
from billtrack.presentation.charts import Chart, Paper, Series, daily_chart
from billtrack.presentation.filters import MeterView, money


def cost_chart(
    costs: DailyCosts,
    days: DateRange,
    *,
    currency: str,
    meters: Mapping[str, MeterView],
    title: str,
    paper: Paper | None = None,
) -> Chart | None:
    """Return the daily cost by event as stacked bars, or None where nothing cost anything."""
    dates = list(days)
    series = [
        Series(meter.name, meter.colour, [costs.get(code, {}).get(day, 0) for day in dates])
        for code, meter in meters.items()
        if any(costs.get(code, {}).values())
    ]
    if not series:
        return None
    return daily_chart(
        dates,
        series,
        title=title,
        tell=partial(money, currency=currency),
        factor=10 ** minor_unit_places(currency),
        paper=paper,
    )
