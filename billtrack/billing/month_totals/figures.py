"""The figures of a month over all customers, and their form in the database.

The stored form holds integers, texts and lists of them, never a float; names of customers are
not in it, so that a change of name shows at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date, datetime
from typing import Any

from billtrack.billing.statements.queries import DailyCosts
from billtrack.core.periods import DateRange


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a whole month will probably come to, and by how much that may miss; minor units."""

    minor: int
    band: int


@dataclass(frozen=True, slots=True)
class RankedCustomer:
    """What one customer's usage and fees come to, in minor units.

    `months` are the totals of the last 13 months, oldest first, the last of them so far; a
    month in another currency counts as 0. `forecast` is the whole of this month.
    """

    user_id: int
    name: str
    minor: int
    currency: str
    forecast: int
    months: list[int]


@dataclass(frozen=True, slots=True)
class CustomerCost:
    """What a month comes to for one customer, so far and as expected in all; minor units.

    `unpriced` counts the lines of usage that no price list covers.
    """

    minor: int
    currency: str
    forecast: int
    unpriced: int


@dataclass(frozen=True, slots=True)
class MonthOverview:
    """Sums over all customers by currency, in minor units, as they were at `taken_at`.

    `before` covers the same days of the month before, `before_days`. `ranking` holds the
    customers with the highest costs of each currency, the highest first.
    """

    taken_at: datetime
    days: DateRange
    revenue: dict[str, int]
    before: dict[str, int]
    before_days: DateRange
    forecast: dict[str, Forecast]
    customers: int
    with_usage: int
    unpriced_lines: int
    unpriced_customers: int
    daily_costs: dict[str, DailyCosts]
    ranking: list[RankedCustomer]

    def named(self, names: Mapping[int, str]) -> MonthOverview:
        """Return it with the names of its customers; those without a name are left out."""
        known = (customer for customer in self.ranking if customer.user_id in names)
        ranking = [replace(customer, name=names[customer.user_id]) for customer in known]
        return replace(self, ranking=ranking)


@dataclass(frozen=True, slots=True)
class Summary:
    """All that is known about a month: the overview, and what each customer costs by user id."""

    overview: MonthOverview
    costs: dict[int, CustomerCost]


def overview_to_json(overview: MonthOverview) -> dict[str, Any]:
    """Return the stored form; `overview_from_json` reads it back, without names."""
    return {
        "taken_at": overview.taken_at.isoformat(),
        "days": _days_to_json(overview.days),
        "revenue": overview.revenue,
        "before": overview.before,
        "before_days": _days_to_json(overview.before_days),
        "forecast": {code: asdict(found) for code, found in overview.forecast.items()},
        "customers": overview.customers,
        "with_usage": overview.with_usage,
        "unpriced_lines": overview.unpriced_lines,
        "unpriced_customers": overview.unpriced_customers,
        "daily_costs": {
            currency: {meter: list(by_day.values()) for meter, by_day in costs.items()}
            for currency, costs in overview.daily_costs.items()
        },
        "ranking": [asdict(customer) for customer in overview.ranking],
    }


def overview_from_json(data: Mapping[str, Any]) -> MonthOverview:
    """Read the stored form; the customers of the ranking have no names yet."""
    days = _days_from_json(data["days"])
    return MonthOverview(
        taken_at=datetime.fromisoformat(data["taken_at"]),
        days=days,
        revenue=dict(data["revenue"]),
        before=dict(data["before"]),
        before_days=_days_from_json(data["before_days"]),
        forecast={code: Forecast(**found) for code, found in data["forecast"].items()},
        customers=data["customers"],
        with_usage=data["with_usage"],
        unpriced_lines=data["unpriced_lines"],
        unpriced_customers=data["unpriced_customers"],
        daily_costs={
            currency: {meter: _by_day(days, amounts) for meter, amounts in costs.items()}
            for currency, costs in data["daily_costs"].items()
        },
        ranking=[RankedCustomer(**customer) for customer in data["ranking"]],
    )


def costs_to_json(costs: Mapping[int, CustomerCost]) -> dict[str, Any]:
    """Return the stored form: customers by currency, as [user id, minor, forecast, unpriced]."""
    stored: dict[str, list[list[int]]] = {}
    for user_id, cost in costs.items():
        row = [user_id, cost.minor, cost.forecast, cost.unpriced]
        stored.setdefault(cost.currency, []).append(row)
    return stored


def costs_from_json(data: Mapping[str, Iterable[Sequence[int]]]) -> dict[int, CustomerCost]:
    """Read the stored form back."""
    return {
        user_id: CustomerCost(minor, currency, forecast, unpriced)
        for currency, rows in data.items()
        for user_id, minor, forecast, unpriced in rows
    }


def _by_day(days: DateRange, amounts: Sequence[int]) -> dict[date, int]:
    return dict(zip(days, amounts, strict=True))


def _days_to_json(days: DateRange) -> list[str]:
    return [days.first.isoformat(), days.last.isoformat()]


def _days_from_json(data: Sequence[str]) -> DateRange:
    return DateRange(date.fromisoformat(data[0]), date.fromisoformat(data[1]))
