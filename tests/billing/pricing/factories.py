"""Price lists and spans for the tests, written as short as the cases need them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from fractions import Fraction

from billtrack.billing.pricing.charges import PriceList, parse_charge
from billtrack.billing.pricing.parts import PricedSpan
from billtrack.billing.pricing.statement import Statement, price_statement
from billtrack.core.periods import DateRange, Month

Raw = Mapping[str, object]

METERS = ("api_calls", "vm_uptime", "cpu_time", "data_storage")


def november(day: int) -> date:
    """A month of 30 days."""
    return date(2026, 11, day)


def create_range(first: int = 1, last: int = 30) -> DateRange:
    return DateRange(november(first), november(last))


def create_charge(unit_price: str = "1", meter: str = "api_calls", **more: object) -> Raw:
    return {"meter": meter, "model": "per_unit", "unit_price": unit_price, **more}


def create_tiered(
    model: str, *tiers: tuple[int | None, str], meter: str = "api_calls", **more: object
) -> Raw:
    entries = [{"up_to": up_to, "unit_price": price} for up_to, price in tiers]
    return {"meter": meter, "model": model, "tiers": entries, **more}


def create_prices(
    *charges: Raw,
    plan: str = "standard",
    version: int = 1,
    currency: str = "USD",
    base_fee: str = "0",
    minimum_commitment: str = "0",
) -> PriceList:
    return PriceList(
        plan=plan,
        version=version,
        currency=currency,
        base_fee=Fraction(base_fee),
        minimum_commitment=Fraction(minimum_commitment),
        charges=tuple(parse_charge(charge) for charge in charges),
    )


def create_span(prices: PriceList, first: int = 1, last: int = 30) -> PricedSpan:
    return PricedSpan(create_range(first, last), prices)


def create_usage(by_day: Mapping[int, int], meter: str = "api_calls") -> dict[str, dict[date, int]]:
    return {meter: {november(day): quantity for day, quantity in by_day.items()}}


def state(
    spans: Iterable[PricedSpan],
    usage: Mapping[str, Mapping[date, int]],
    period: DateRange | None = None,
) -> Statement:
    """Price November, or another period, with the meters in their usual order."""
    return price_statement(
        period=period or Month(2026, 11).dates, spans=list(spans), usage=usage, meters=METERS
    )
