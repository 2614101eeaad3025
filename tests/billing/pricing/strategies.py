"""Random charges in their JSON form, price lists by day, usage, and ways to cut a range."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from billtrack.billing.pricing.parts import PricedSpan
from billtrack.core.periods import DateRange
from tests.billing.pricing.factories import create_prices
from tests.billing.pricing.oracle import Priced

FIRST = date(2027, 1, 1)  # January of 31 days, February of 28
METERS = ("api_calls", "cpu_time")

prices = st.sampled_from(["0", "0.005", "0.01", "0.3333", "1", "1.50", "7.125", "0.000000000001"])
bounds = st.none() | st.sampled_from(["0", "0.335", "1", "2.50"])
fees = st.sampled_from(["0", "0.10", "9.99", "10.00", "10", "31"])


@st.composite
def tier_lists(draw: st.DrawFn) -> list[dict[str, Any]]:
    edges = sorted(draw(st.sets(st.integers(1, 40), max_size=3)))
    tiers: list[dict[str, Any]] = []
    for up_to in [*edges, None]:
        tier: dict[str, Any] = {"up_to": up_to, "unit_price": draw(prices)}
        if draw(st.booleans()):
            tier["flat_fee"] = draw(prices)
        tiers.append(tier)
    return tiers


@st.composite
def charges(draw: st.DrawFn, meter: str = "api_calls") -> dict[str, Any]:
    model = draw(st.sampled_from(["per_unit", "graduated", "volume", "package"]))
    charge: dict[str, Any] = {"meter": meter, "model": model}
    if model in {"graduated", "volume"}:
        charge["tiers"] = draw(tier_lists())
    else:
        charge["unit_price"] = draw(prices)
    charge["per"] = draw(st.sampled_from([1, 1, 2, 3, 7]))
    charge["included"] = draw(st.sampled_from([0, 0, 5, 31]))
    charge["minimum"] = draw(bounds)
    charge["maximum"] = draw(st.sampled_from([None, "2.50", "20", "33.333"]))
    return charge


@dataclass(frozen=True)
class World:
    """What a customer was offered and used in two months, in both forms."""

    spans: tuple[PricedSpan, ...]
    by_day: Mapping[date, Priced]
    usage: Mapping[str, Mapping[date, int]]


@st.composite
def cuts(draw: st.DrawFn, last: int, most: int) -> list[tuple[int, int]]:
    """Cut the days 0..last into consecutive (first, last) pieces."""
    inner = draw(st.sets(st.integers(1, last), max_size=most))
    return [(first, after - 1) for first, after in pairwise([0, *sorted(inner), last + 1])]


@st.composite
def offers(draw: st.DrawFn, currency: str, pool: Sequence[dict[str, Any]]) -> Priced:
    """A price list from a small pool, so that the same charge comes back."""
    by_meter = {charge["meter"]: charge for charge in draw(st.lists(st.sampled_from(pool)))}
    return Priced(
        plan=draw(st.sampled_from(["basic", "pro"])),
        version=draw(st.integers(1, 3)),
        currency=currency,
        base_fee=draw(fees),
        minimum_commitment=draw(fees),
        charges=tuple(by_meter.values()),
    )


@st.composite
def worlds(draw: st.DrawFn) -> World:
    currency = draw(st.sampled_from(["USD", "JPY", "KWD"]))
    pool = [draw(charges(meter)) for meter in METERS for _ in range(2)]
    spans: list[PricedSpan] = []
    by_day: dict[date, Priced] = {}
    for piece in draw(cuts(58, 4)):
        days = create_days(*piece)
        offer = draw(st.none() | offers(currency, pool) | offers(currency, pool))
        if offer is not None:
            spans.append(create_offered_span(days, offer))
            by_day.update(dict.fromkeys(days, offer))
    amounts = st.dictionaries(st.integers(0, 58), st.integers(0, 12), max_size=12)
    usage = {
        meter: {FIRST + timedelta(days=shift): used for shift, used in draw(amounts).items()}
        for meter in METERS
    }
    return World(tuple(spans), by_day, usage)


def create_days(first: int, last: int) -> DateRange:
    """Days by their distance from the first one of the world."""
    return DateRange(FIRST + timedelta(days=first), FIRST + timedelta(days=last))


def create_offered_span(days: DateRange, offer: Priced) -> PricedSpan:
    return PricedSpan(
        days,
        create_prices(
            *offer.charges,
            plan=offer.plan,
            version=offer.version,
            currency=offer.currency,
            base_fee=offer.base_fee,
            minimum_commitment=offer.minimum_commitment,
        ),
    )
