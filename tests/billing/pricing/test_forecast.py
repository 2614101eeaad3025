"""What is expected of the rest of a month, tried on the demo's year against the run rate."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billtrack.billing.plans.standard import standard_charges
from billtrack.billing.pricing.charges import PriceList
from billtrack.billing.pricing.forecast import (
    WINDOW,
    expected_month,
    expected_quantities,
    likely_miss,
    usual_error,
)
from billtrack.billing.pricing.parts import PricedSpan
from billtrack.billing.pricing.statement import DailyUsage, Statement, price_statement
from billtrack.core.periods import DateRange, Month
from billtrack.entrypoints.setup.demo_usage import demo_customers, demo_first_day, usage_on
from tests.work import calls_made

METERS = ("api_calls", "vm_uptime", "cpu_time", "data_storage")
NEWEST = Month(2026, 11)
YEAR = DateRange(demo_first_day(NEWEST), NEWEST.last)
SPANS = [PricedSpan(YEAR, PriceList("standard", 1, "USD", charges=standard_charges()))]
DAYS_OF_MONTH = (5, 10, 15, 20, 25)
WEEK = [80, 100, 120, 110, 90, 20, 10]


@dataclass(frozen=True, slots=True)
class Backtest:
    """Mean absolute errors of a month's revenue, as shares of it, forecast on one day."""

    naive: Fraction
    ours: Fraction
    naive_by_customer: Fraction
    ours_by_customer: Fraction
    within_band: int
    months: int


@cache
def backtest() -> dict[int, Backtest]:
    """Return by day of the month how well its months were foreseen at the end of that day."""
    usage = demo_usage()
    months = [month for month, _ in YEAR.months()][1:]
    return {number: _backtest_of_day(number, usage, months) for number in DAYS_OF_MONTH}


@cache
def demo_usage() -> list[DailyUsage]:
    """Return the demo's year, a mapping for each customer that uses anything."""
    year: list[DailyUsage] = []
    for customer in demo_customers(NEWEST):
        used = {day: usage_on(customer, day) for day in YEAR}
        year.append({m: {day: used[day].get(m, 0) for day in YEAR} for m in METERS})
    return [usage for usage in year if any(any(daily.values()) for daily in usage.values())]


def _backtest_of_day(number: int, usage: list[DailyUsage], months: list[Month]) -> Backtest:
    totals: dict[str, list[Fraction]] = {"naive": [], "ours": []}
    customers: dict[str, list[Fraction]] = {"naive": [], "ours": []}
    within = 0
    for month in months:
        tomorrow = month.first + timedelta(days=number)
        came, naive, ours, coming = 0, Fraction(0), 0, dict.fromkeys(METERS, 0)
        for customer in usage:
            known = {m: {d: q for d, q in by_day.items() if d < tomorrow}
                     for m, by_day in customer.items()}  # fmt: skip
            so_far = state(DateRange(month.first, tomorrow - timedelta(days=1)), known)
            expected = state(month.dates, expected_month(known, today=tomorrow))
            actual = state(month.dates, customer).total
            run_rate = Fraction(so_far.total * month.days, number)
            came, naive, ours = came + actual, naive + run_rate, ours + expected.total
            for statement, sign in ((expected, 1), (so_far, -1)):
                for line in statement.lines:
                    coming[str(line.meter)] += sign * line.amount
            if actual:
                customers["naive"].append(abs(run_rate - actual) / actual)
                customers["ours"].append(Fraction(abs(expected.total - actual), actual))
        totals["naive"].append(abs(naive - came) / came)
        totals["ours"].append(Fraction(abs(ours - came), came))
        within += abs(ours - came) <= _band(coming, usage, tomorrow)
    return Backtest(
        mean(totals["naive"]),
        mean(totals["ours"]),
        mean(customers["naive"]),
        mean(customers["ours"]),
        within,
        len(months),
    )


def _band(coming: dict[str, int], usage: list[DailyUsage], today: date) -> int:
    past = [today - timedelta(days=before) for before in range(WINDOW, 0, -1)]
    return sum(
        likely_miss(coming[meter], [sum(one[meter].get(day, 0) for one in usage) for day in past])
        for meter in METERS
    )


def state(period: DateRange, usage: DailyUsage) -> Statement:
    return price_statement(period=period, spans=SPANS, usage=usage, meters=METERS)


def mean(shares: list[Fraction]) -> Fraction:
    return sum(shares, Fraction(0)) / len(shares)


@pytest.mark.parametrize("number", DAYS_OF_MONTH)
def test_it_misses_by_less_than_the_run_rate(number: int) -> None:
    found = backtest()[number]
    assert found.ours < found.naive
    assert found.ours_by_customer < found.naive_by_customer * Fraction(3, 5)


def test_it_misses_by_a_third_of_the_run_rate_over_all() -> None:
    found = backtest().values()
    assert mean([day.ours for day in found]) < mean([day.naive for day in found]) / 3
    ours, naive = ([d.ours_by_customer for d in found], [d.naive_by_customer for d in found])
    assert mean(ours) < mean(naive) / 2


def test_its_band_holds_nine_months_of_ten() -> None:
    found = backtest().values()
    assert 10 * sum(day.within_band for day in found) >= 9 * sum(day.months for day in found)


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        pytest.param([], [0] * 9, id="nothing known"),
        pytest.param([0] * 60, [0] * 9, id="dormant"),
        pytest.param([5] * 60, [5] * 9, id="steady"),
        pytest.param([7], [7] * 9, id="since yesterday"),
        pytest.param([0] * 50 + [6] * 10, [6] * 9, id="new"),
        pytest.param(WEEK * 8, [*WEEK, *WEEK[:2]], id="by weekday"),
        pytest.param([*WEEK * 8, *WEEK[:3]], [*WEEK[3:], *WEEK[:5]], id="from Thursday on"),
        pytest.param([*WEEK * 4, *WEEK[:3]], [*WEEK[3:], *WEEK[:5]], id="known for a month"),
        pytest.param([40] * 50 + [0] * 6, [0] * 9, id="ended"),
        pytest.param([9, 0, 0, 0], [0] * 9, id="once and never more"),
        pytest.param([10**18] * 60, [10**18] * 9, id="as much as there may be"),
    ],
)
def test_it_expects(history: list[int], expected: list[int]) -> None:
    assert expected_quantities(history, days=9) == expected


def test_a_weekend_is_no_end() -> None:
    working = [100, 100, 100, 100, 100, 0, 0]
    assert expected_quantities(working * 8, days=7) == working


def test_a_pause_as_long_as_those_before_is_no_end() -> None:
    monthly = [700, *[0] * 13] * 4
    assert sum(expected_quantities(monthly, days=14)) > 0
    assert expected_quantities([*monthly, *[0] * 14], days=14) == [0] * 14


def test_only_twice_the_longest_pause_is_an_end() -> None:
    paused = [50] * 20 + [0] * 5 + [50] * 20
    assert sum(expected_quantities([*paused, *[0] * 10], days=7)) > 0
    assert sum(expected_quantities([*paused, *[0] * 11], days=7)) == 0


def test_recent_days_weigh_more() -> None:
    doubled = expected_quantities([100] * 49 + [200] * 7, days=1)[0]
    assert 145 < doubled < 200


def test_one_spike_does_not_become_a_habit() -> None:
    day_after = expected_quantities([100] * 55 + [2000], days=7)
    assert max(day_after) < 2 * 400


@given(st.lists(st.integers(0, 10**18), max_size=80), st.integers(0, 31))
def test_it_never_expects_less_than_nothing(history: list[int], days: int) -> None:
    expected = expected_quantities(history, days=days)
    assert len(expected) == days
    assert all(type(quantity) is int and quantity >= 0 for quantity in expected)


def test_a_month_is_what_was_and_what_is_expected() -> None:
    today = date(2026, 11, 28)
    usage = {"api_calls": {date(2026, 10, 1) + timedelta(days=n): 10 for n in range(58)}}
    usage["api_calls"][date(2026, 11, 3)] = 10
    outlook = expected_month(usage, today=today)
    assert outlook == {"api_calls": dict.fromkeys(Month(2026, 11).dates, 10)}


def test_today_is_not_over() -> None:
    today = date(2026, 11, 29)
    usage = {today - timedelta(days=n): 10 for n in range(1, 57)}
    for so_far, expected in ((0, 10), (9, 10), (25, 25)):
        outlook = expected_month({"api_calls": {**usage, today: so_far}}, today=today)
        assert outlook["api_calls"][today] == expected
        assert outlook["api_calls"][date(2026, 11, 30)] == 10


def test_whoever_starts_today_goes_on_so() -> None:
    outlook = expected_month({"api_calls": {date(2026, 11, 29): 7}}, today=date(2026, 11, 29))
    assert outlook == {"api_calls": {date(2026, 11, 29): 7, date(2026, 11, 30): 7}}


def test_tomorrow_is_not_known_yet() -> None:
    today = date(2026, 11, 10)
    known = {today - timedelta(days=n): 10 for n in range(1, 57)}
    later = {**known, date(2026, 11, 20): 10**9}
    assert expected_month({"cpu_time": later}, today=today) == expected_month(
        {"cpu_time": known}, today=today
    )


@pytest.mark.parametrize(
    ("history", "error"),
    [
        pytest.param([], 1, id="nothing known"),
        pytest.param([5] * 6, 1, id="less than a week"),
        pytest.param([5] * 56, 0, id="steady"),
        pytest.param([4] * 49 + [8] * 7, Fraction(1, 8), id="doubled in the last of four"),
    ],
)
def test_the_usual_error_is_that_of_the_last_weeks(history: list[int], error: Fraction) -> None:
    assert usual_error(history) == error


def test_what_may_miss_is_twice_the_usual_error() -> None:
    history = [4] * 49 + [8] * 7
    assert [likely_miss(coming, history) for coming in (1000, -1000, 1, 0)] == [250, 250, 1, 0]


def test_a_customer_is_little_work() -> None:
    chance = random.Random(1)
    today = date(2026, 11, 11)
    past = [today - timedelta(days=n) for n in range(60)]
    usage = {m: {day: chance.randrange(10**6) for day in past} for m in METERS}
    # Half of this number of calls is a sixth of a millisecond.
    assert calls_made(lambda: expected_month(usage, today=today)) < 1000
