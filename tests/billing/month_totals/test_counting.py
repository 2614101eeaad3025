"""The figures of a month are sums of statements, to the minor unit."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta

import pytest
from apiflask import APIFlask
from sqlalchemy import event

from billtrack.accounts.users.queries import list_customers
from billtrack.billing.month_totals import counting
from billtrack.billing.month_totals.counting import count_month
from billtrack.billing.month_totals.figures import Summary
from billtrack.billing.plans.queries import price_spans
from billtrack.billing.pricing.forecast import expected_month
from billtrack.billing.pricing.statement import price_statement
from billtrack.billing.statements.queries import Terms, list_statements, read_given
from billtrack.core.periods import BillingCalendar, DateRange, Month
from billtrack.platform.db import end_read, transaction
from billtrack.platform.extensions import db
from billtrack.usage.records.queries import daily_totals, users_with_usage
from tests.billing.month_totals.world import (
    DAYS,
    NOW,
    TODAY,
    World,
    add_usage,
    create_customer,
    create_usage,
    create_world,
    terms,
)

METERS = ["api_calls", "vm_uptime", "cpu_time", "data_storage"]
BEFORE = DateRange(date(2026, 2, 1), date(2026, 2, 18))


@pytest.fixture
def world(app: APIFlask) -> World:
    return create_world()


@pytest.fixture
def counted(world: World) -> Summary:
    return count_month(DAYS, terms=terms())


def billed(days: DateRange) -> list[int]:
    return sorted({user.id for user in list_customers()} | set(users_with_usage(days)))


def totals(days: DateRange) -> dict[str, int]:
    sums: Counter[str] = Counter()
    for found in list_statements(billed(days), days, terms=terms()).values():
        sums[found.currency] += found.statement.total
    return {currency: minor for currency, minor in sums.items() if minor}


def test_revenue_is_the_sum_of_statements(counted: Summary) -> None:
    assert counted.overview.revenue == totals(DAYS)
    assert set(counted.overview.revenue) == {"USD", "EUR"}


def test_the_same_days_of_last_month_are_the_sum_of_theirs(counted: Summary) -> None:
    assert counted.overview.before_days == BEFORE
    assert counted.overview.before == totals(BEFORE)
    assert counted.overview.before != counted.overview.revenue


def test_every_customer_costs_what_its_statement_says(counted: Summary) -> None:
    statements = list_statements(billed(DAYS), DAYS, terms=terms())
    assert {user_id: (cost.minor, cost.currency) for user_id, cost in counted.costs.items()} == {
        user_id: (found.statement.total, found.currency) for user_id, found in statements.items()
    }


def test_days_are_the_sum_of_daily_costs(counted: Summary) -> None:
    currencies = {user_id: cost.currency for user_id, cost in counted.costs.items()}
    sums: Counter[tuple[str, str, date]] = Counter()
    given = read_given(billed(DAYS), DAYS)
    for user_id in billed(DAYS):
        costs = given.daily_costs(user_id)
        for meter, by_day in costs.items():
            for day, minor in by_day.items():
                sums[currencies[user_id], meter, day] += minor
    assert {
        (currency, meter, day): minor
        for currency, costs in counted.overview.daily_costs.items()
        for meter, by_day in costs.items()
        for day, minor in by_day.items()
    } == dict(sums)


def test_the_forecast_is_the_sum_of_expected_statements(counted: Summary) -> None:
    ids, month = billed(DAYS), Month.of(TODAY)
    usage = daily_totals(ids, DateRange(TODAY - timedelta(days=60), TODAY))
    spans = price_spans(ids, month.dates)
    sums: Counter[str] = Counter()
    for user_id in ids:
        found = price_statement(
            period=month.dates,
            spans=spans[user_id],
            usage=expected_month(usage[user_id], today=TODAY),
            meters=METERS,
        )
        sums[found.currency or "USD"] += found.total
        assert counted.costs[user_id].forecast == found.total
    forecast = counted.overview.forecast
    assert {currency: found.minor for currency, found in forecast.items()} == dict(sums)


def test_the_forecast_holds_what_enters_on_the_last_day(counted: Summary, world: World) -> None:
    # 900.00 are committed and 30.00 of CPU time are the least: both are yet to come.
    assert counted.costs[world.fees].minor < 90_000 <= counted.costs[world.fees].forecast
    unpriced = counted.costs[world.unpriced]
    assert unpriced.forecast - unpriced.minor > 3_000


def test_the_band_is_narrow_for_steady_use_and_wide_for_new(app: APIFlask) -> None:
    with transaction():
        ids = [create_customer("first"), create_customer("second")]
    add_usage(ids[0], {TODAY - timedelta(days=n): 100_000 for n in range(100)})
    steady = count_month(DAYS, terms=terms()).overview.forecast["USD"]
    add_usage(ids[1], {TODAY - timedelta(days=n): 900_000 for n in range(5)}, meter_id=2)
    unsure = count_month(DAYS, terms=terms()).overview.forecast["USD"]
    assert steady.band == 0
    # Nothing is known of the second one: what is still to come may come twice or not at all.
    assert unsure.band == 2 * (unsure.minor - steady.minor - cost_of(ids[1]))


def cost_of(user_id: int) -> int:
    return list_statements([user_id], DAYS, terms=terms())[user_id].statement.total


def test_usage_without_a_price_is_counted(counted: Summary, world: World) -> None:
    statements = list_statements(billed(DAYS), DAYS, terms=terms())
    lines = {
        user_id: sum(line.kind == "unpriced" for line in found.statement.lines)
        for user_id, found in statements.items()
    }
    assert counted.overview.unpriced_lines == sum(lines.values()) == 6
    assert counted.overview.unpriced_customers == 2
    assert {user_id for user_id, cost in counted.costs.items() if cost.unpriced} == {
        world.unpriced,
        world.machine,
    }


def test_customers_are_the_active_ones_and_whoever_used_anything(
    counted: Summary, world: World
) -> None:
    assert counted.overview.customers == 6  # of seven accounts, one was deactivated
    assert counted.overview.with_usage == 5  # of those six, all but the quiet one
    assert world.left in counted.costs
    assert counted.costs[world.quiet].minor == 0


def test_whoever_left_counts_in_the_days_it_used_anything(world: World) -> None:
    before = count_month(DAYS, terms=terms())
    with transaction():
        gone = create_customer("gone", plan="pro", deactivated=True)
    add_usage(gone, {date(2026, 2, 3): 5_000})
    after = count_month(DAYS, terms=terms())
    assert after.costs == before.costs
    assert after.overview.before == totals(BEFORE) != before.overview.before


def test_the_ranking_is_by_currency_and_cost(counted: Summary) -> None:
    ranked = [(c.currency, -c.minor, c.user_id) for c in counted.overview.ranking]
    assert ranked == sorted(ranked)
    assert {user_id for _, _, user_id in ranked} == {
        user_id for user_id, cost in counted.costs.items() if cost.minor > 0
    }


def test_the_ranking_is_short(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "TOP", 1)
    ranking = count_month(DAYS, terms=terms()).overview.ranking
    assert [customer.currency for customer in ranking] == ["EUR", "USD"]


def test_ranked_customers_have_a_history(counted: Summary, world: World) -> None:
    ranked = {customer.user_id: customer for customer in counted.overview.ranking}
    february = list_statements([world.steady], Month(2026, 2).dates, terms=terms())
    assert len(ranked[world.steady].months) == 13
    assert ranked[world.steady].months[-1] == ranked[world.steady].minor
    assert ranked[world.steady].months[-2] == february[world.steady].statement.total > 0
    # February was paid in dollars: dollars are no euros.
    assert ranked[world.moved].months[-2] == 0


def test_the_same_days_end_with_a_shorter_month(app: APIFlask) -> None:
    days = Month(2026, 3).dates
    found = count_month(days, terms=terms(datetime.fromisoformat("2026-03-31T12:00Z"))).overview
    assert found.before_days == Month(2026, 2).dates
    assert found.revenue == found.before == {}


def test_the_forecast_of_the_last_day_is_the_month(world: World) -> None:
    create_more = {date(2026, 3, 19) + timedelta(days=n): 50_000 for n in range(13)}
    add_usage(world.steady, create_more)
    found = count_month(Month(2026, 3).dates, terms=terms()).costs[world.euro]
    assert found.forecast > 0
    whole = count_month(Month(2026, 3).dates, terms=terms()).costs[world.steady]
    assert whole.forecast >= whole.minor > 0


def test_it_asks_a_fixed_number_of_questions(app: APIFlask) -> None:
    with transaction():
        ids = [create_customer(f"customer-{number}") for number in range(2)]
    for user_id in ids:
        create_usage(user_id)
    few = questions()
    with transaction():
        ids = [create_customer(f"further-{number}") for number in range(20)]
    for user_id in ids:
        create_usage(user_id, days=40)
    assert questions() == few < 25


def questions() -> int:
    end_read()
    asked: list[str] = []

    def note(*call: object) -> None:
        asked.append(str(call[2]))

    event.listen(db.engine, "before_cursor_execute", note)
    count_month(DAYS, terms=terms())
    event.remove(db.engine, "before_cursor_execute", note)
    return len(asked)


def test_many_customers_are_read_piece_by_piece(
    world: World, counted: Summary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "CHUNK", 3)
    assert count_month(DAYS, terms=terms()) == counted


def test_amounts_are_whole_however_large(app: APIFlask) -> None:
    with transaction():
        ids = [create_customer(f"customer-{number}") for number in range(3)]
    for user_id in ids:
        add_usage(user_id, {TODAY: 10**18})
    found = count_month(DAYS, terms=terms())
    assert found.overview.revenue == totals(DAYS)
    assert found.overview.revenue["USD"] > 3 * 10**16


def test_days_are_those_of_the_billing_calendar(world: World) -> None:
    kiritimati = Terms(BillingCalendar("Pacific/Kiritimati"), "USD", NOW)
    assert count_month(DAYS, terms=kiritimati).overview.revenue == totals(DAYS)
