"""Made-up content for the page that shows every component."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from billtrack.billing.plans.standard import standard_charges
from billtrack.billing.pricing.charges import PriceList, parse_charge
from billtrack.billing.pricing.parts import PricedSpan
from billtrack.billing.pricing.statement import price_statement
from billtrack.billing.statements.queries import UserStatement
from billtrack.core.periods import DateRange
from billtrack.presentation.charts import Chart, Series, daily_chart
from billtrack.presentation.curves import tier_curve
from billtrack.presentation.drawings import Drawing
from billtrack.presentation.filters import MeterView, money
from billtrack.presentation.lines import Forecast, line_chart
from billtrack.presentation.statements import statement_view

NOVEMBER = DateRange(date(2026, 11, 1), date(2026, 11, 30))
TODAY = 22
NOW = datetime(2026, 11, TODAY, 14, 2, tzinfo=UTC)
DOLLARS = partial(money, currency="USD")
USED = {
    "api_calls": 1_642_000,
    "vm_uptime": 7_884_000,
    "cpu_time": 1_485_360,
    "data_storage": 61_200,
}
BY_DAY = (59, 61, 58, 50, 54, 66, 61, 63, 63, 67, 54, 53, 69, 68, 67, 70, 71, 71, 56, 60, 69, 41)
AHEAD = (70, 76, 60, 56, 73, 75, 76, 81)


def meters() -> dict[str, MeterView]:
    """Return the four standard meters."""
    return {
        "api_calls": MeterView("api_calls", "API calls", "call", "calls", 1, 1),
        "vm_uptime": MeterView("vm_uptime", "VM uptime", "second", "h", 3600, 2),
        "cpu_time": MeterView("cpu_time", "CPU time", "CPU-second", "CPU-h", 3600, 3),
        "data_storage": MeterView("data_storage", "Data storage", "GB-hour", "GB·h", 1, 4),
    }


def bars() -> Chart:
    """Return a month of daily costs, the days to come in grey."""
    weights = (45, 25, 18, 12)
    series = [
        Series(meter.name, meter.colour, [*(10 * one * weight for one in BY_DAY), *[0] * 8])
        for meter, weight in zip(meters().values(), weights, strict=True)
    ]
    ahead = Series("Forecast", "forecast", [*[0] * TODAY, *(1000 * one for one in AHEAD)])
    return daily_chart(
        list(NOVEMBER), [*series, ahead], title="Usage cost by day, USD", tell=DOLLARS, factor=100
    )


def line() -> Drawing:
    """Return a month as it adds up, with what is expected."""
    so_far = [1000 * sum(BY_DAY[: n + 1]) for n in range(TODAY)]
    coming = [so_far[-1] + 1000 * sum(AHEAD[: n + 1]) for n in range(len(AHEAD))]
    band = [(value - 12_000 * (n + 1), value + 15_000 * (n + 1)) for n, value in enumerate(coming)]
    return line_chart(
        list(NOVEMBER),
        Series("Revenue", 1, so_far),
        Forecast(coming, band),
        title="Revenue as it adds up, USD",
        tell=DOLLARS,
        factor=100,
    )


def curves() -> list[Drawing]:
    """Return a graduated and a volume charge."""
    volume = parse_charge(
        {
            "meter": "data_storage",
            "model": "volume",
            "tiers": [
                {"up_to": 20_000, "unit_price": "0.0004"},
                {"up_to": 60_000, "unit_price": "0.0003"},
                {"up_to": None, "unit_price": "0.00022"},
            ],
        }
    )
    view = meters()
    draw = partial(tier_curve, currency="USD")
    return [
        draw(
            standard_charges()[0],
            USED["api_calls"],
            meter=view["api_calls"],
            title="Price of API calls, graduated",
        ),
        draw(volume, 42_000, meter=view["data_storage"], title="Price of data storage, by volume"),
    ]


def statement() -> dict[str, Any]:
    """Return the statement of a month on the standard plan."""
    prices = PriceList("standard", 1, "USD", charges=standard_charges())
    usage = {code: {NOVEMBER.first: quantity} for code, quantity in USED.items()}
    days = DateRange(NOVEMBER.first, NOVEMBER.first + timedelta(days=TODAY - 1))
    priced = price_statement(
        period=days, spans=[PricedSpan(NOVEMBER, prices)], usage=usage, meters=list(USED)
    )
    return statement_view(UserStatement(1, priced, "USD", True, NOW, NOW, NOW), meters())


def jobs() -> list[dict[str, Any]]:
    """Return a job in each state. Those at work have no number, so that they ask for nothing."""
    common = {
        "note": "November 2026 · PDF",
        "progress": 0,
        "done": None,
        "of": None,
        "error": None,
        "created_at": NOW,
        "is_group": False,
        "filename": None,
        "can_retry": False,
    }
    states: list[dict[str, Any]] = [
        {"title": "Waits", "status": "queued"},
        {"title": "At work", "status": "running", "progress": 62},
        {
            "title": "At work, of many parts",
            "status": "running",
            "progress": 72,
            "done": 18,
            "of": 25,
        },
        {"title": "Finished", "status": "completed", "filename": "user-1-2026-11.pdf"},
        {"title": "Finished, of many parts", "status": "completed", "is_group": True},
        {"title": "Finished long ago", "status": "completed"},
        {
            "title": "Failed",
            "status": "failed",
            "error": "The page took longer than 60 seconds. Ask for fewer days.",
            "can_retry": True,
        },
    ]
    return [{**common, **state, "id": str(n)} for n, state in enumerate(states, start=1)]
