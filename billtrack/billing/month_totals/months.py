"""What customers came to in each of the last months."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from itertools import product

from billtrack.billing.month_totals.reading import read_usage
from billtrack.billing.plans.queries import price_spans
from billtrack.billing.pricing.statement import price_statement
from billtrack.core.periods import DateRange, Month
from billtrack.usage.records.meters import list_meters

CHUNK = 500
"""Customers whose usage is held in memory at once."""

MONTHS = 13
"""Months in the history of a customer, the newest included."""


@dataclass(frozen=True, slots=True)
class MonthTotal:
    """What a month comes to, minor units; `currency` is None when no price list holds in it."""

    month: Month
    currency: str | None
    minor: int


def list_month_totals(user_ids: Sequence[int], through: date) -> dict[int, list[MonthTotal]]:
    """Return the last 13 months of these customers, whoever asks, the oldest first.

    The newest is the month of `through`, counted through that day, inclusive. A fixed number
    of queries for each 500 customers.
    """
    first = month = Month.of(through)
    for _ in range(MONTHS - 1):
        first = first.previous
    windows = list(DateRange(first.first, through).months())
    meters = {meter.id: meter.code for meter in list_meters()}
    codes = list(meters.values())
    totals: dict[int, list[MonthTotal]] = {user_id: [] for user_id in user_ids}
    for start in range(0, len(user_ids), CHUNK):
        chunk = user_ids[start : start + CHUNK]
        usage = read_usage(chunk, DateRange(first.first, through), meters=meters)
        spans = price_spans(chunk, DateRange(first.first, month.last))
        for user_id, (own, window) in product(chunk, windows):
            found = price_statement(
                period=window, spans=spans[user_id], usage=usage[user_id], meters=codes
            )
            totals[user_id].append(MonthTotal(own, found.currency, found.total))
    return totals
