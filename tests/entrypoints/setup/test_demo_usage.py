"""The demo's customers: 25 shapes, the same usage for whoever asks, whenever."""

from __future__ import annotations

import random
from datetime import date, timedelta

import pytest

from billtrack.billing.plans.standard import standard_charges
from billtrack.billing.pricing.charges import PriceList
from billtrack.billing.pricing.parts import PricedSpan
from billtrack.billing.pricing.statement import price_statement
from billtrack.core.periods import DateRange, Month
from billtrack.entrypoints.setup.demo_usage import (
    DemoCustomer,
    demo_customers,
    demo_first_day,
    usage_on,
)
from billtrack.usage.records.meters import STANDARD_METERS
from tests.work import calls_made

NEWEST = Month(2026, 11)
DAYS = DateRange(demo_first_day(NEWEST), NEWEST.last)
METERS = [code for code, *_ in STANDARD_METERS]
PRICES = PriceList("standard", 1, "USD", charges=standard_charges())


def customer(email: str) -> DemoCustomer:
    return next(found for found in demo_customers(NEWEST) if found.email == email)


def total(found: DemoCustomer, event: str, days: DateRange) -> int:
    return sum(usage_on(found, day).get(event, 0) for day in days)


def revenue(found: DemoCustomer) -> int:
    usage = {meter: {day: usage_on(found, day).get(meter, 0) for day in DAYS} for meter in METERS}
    spans = [PricedSpan(DAYS, PRICES)]
    return price_statement(period=DAYS, spans=spans, usage=usage, meters=METERS).total


def test_there_are_thirteen_months_of_twenty_five_customers() -> None:
    assert DAYS.first == date(2025, 11, 1)
    customers = demo_customers(NEWEST)
    assert len({found.email for found in customers}) == len(customers) == 25
    assert len({found.name for found in customers}) == 25
    assert all(found.email.endswith(".example") for found in customers)
    assert (customers[0].name, customers[2].email) == ("Northwind Analytics", "ops@kiln.example")


def test_usage_is_the_same_in_any_order() -> None:
    asked = [(found, day) for found in demo_customers(NEWEST) for day in Month(2026, 5).dates]
    first = [usage_on(found, day) for found, day in asked]
    shuffled = list(range(len(asked)))
    random.Random(7).shuffle(shuffled)
    again = {number: usage_on(*asked[number]) for number in shuffled}
    assert [again[number] for number in range(len(asked))] == first


def test_usage_is_whole_units_of_known_events() -> None:
    for found in demo_customers(NEWEST):
        for day in DAYS:
            for event, quantity in usage_on(found, day).items():
                assert event in METERS
                assert isinstance(quantity, int)
                assert 0 < quantity < 10**12


def test_a_day_of_a_customer_is_little_work() -> None:
    customers = demo_customers(NEWEST)

    def use_a_year() -> None:
        for found in customers:
            for day in DAYS:
                usage_on(found, day)

    # A hundred calls for each: some 30 microseconds.
    assert calls_made(use_a_year) < 150 * len(customers) * len(list(DAYS))


def test_one_customer_brings_about_a_third() -> None:
    by_customer = sorted(map(revenue, demo_customers(NEWEST)))
    assert 25 <= 100 * by_customer[-1] // sum(by_customer) <= 35


@pytest.mark.parametrize(
    ("email", "event", "least", "most"),
    [
        ("dev@lumen.example", "api_calls", 250, 600),
        ("accounts@harrow.example", "api_calls", 30, 60),
        ("archive@vellum.example", "data_storage", 220, 320),
        ("ops@cobalt.example", "vm_uptime", 85, 115),
    ],
)
def test_customers_grow_shrink_and_hoard(email: str, event: str, least: int, most: int) -> None:
    found = customer(email)
    before = total(found, event, Month(2025, 11).dates)
    after = total(found, event, NEWEST.dates)
    assert least <= 100 * after // before <= most


@pytest.mark.parametrize(
    ("email", "high", "low"),
    [
        ("it@saltmarsh.example", Month(2026, 7), Month(2026, 2)),
        ("systems@alder.example", Month(2026, 5), Month(2026, 7)),
        ("ops@emberheat.example", Month(2026, 1), Month(2026, 7)),
        ("ops@kiln.example", Month(2025, 12), Month(2026, 7)),
    ],
)
def test_customers_have_their_seasons(email: str, high: Month, low: Month) -> None:
    found = customer(email)
    high_total = total(found, "api_calls", high.dates)
    assert high_total > 1.4 * total(found, "api_calls", low.dates)


def test_business_customers_rest_at_the_weekend() -> None:
    found = customer("billing@northwind.example")
    week = DateRange(date(2026, 6, 1), date(2026, 6, 7))  # Monday to Sunday
    calls = [usage_on(found, day)["api_calls"] for day in week]
    assert max(calls[5:]) < min(calls[:5])


def test_the_dormant_use_nothing() -> None:
    assert all(usage_on(customer("office@quiet.example"), day) == {} for day in DAYS)


@pytest.mark.parametrize("email", ["it@oldmill.example", "admin@drift.example"])
def test_those_who_left_use_nothing_more(email: str) -> None:
    found = customer(email)
    assert found.ends_on is not None
    assert usage_on(found, found.ends_on)
    assert usage_on(found, found.ends_on + timedelta(days=1)) == {}


@pytest.mark.parametrize("email", ["founders@nimbus.example", "team@larkspur.example"])
def test_those_who_came_used_nothing_before(email: str) -> None:
    found = customer(email)
    assert DAYS.first < found.starts_on < NEWEST.first
    assert usage_on(found, found.starts_on - timedelta(days=1)) == {}
    assert usage_on(found, found.starts_on)


def test_night_batches_run_on_their_nights_only() -> None:
    found = customer("batch@quarry.example")
    nights = {day.weekday() for day in DAYS if "cpu_time" in usage_on(found, day)}
    assert nights == {1, 3, 5}


def test_some_days_are_spikes() -> None:
    found = customer("launch@sparrow.example")
    calls = sorted(usage_on(found, day)["api_calls"] for day in DAYS)
    assert calls[-1] > 5 * calls[len(calls) // 2]
