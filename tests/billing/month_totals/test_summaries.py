"""The summary of a month: taken by the worker, read by the pages, never older than it says."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import func, select

from billtrack.accounts.users.models import User
from billtrack.billing.month_totals import counting, operations
from billtrack.billing.month_totals.counting import count_month
from billtrack.billing.month_totals.models import MonthSummary
from billtrack.billing.month_totals.operations import REFRESH_AFTER, refresh
from billtrack.billing.month_totals.queries import FRESH_FOR, get_overview, list_costs
from billtrack.billing.plans.queries import price_spans
from billtrack.core.periods import DateRange, Month
from billtrack.platform.db import end_read, transaction
from billtrack.platform.extensions import db
from tests.billing.month_totals.world import (
    DAYS,
    NOW,
    TODAY,
    World,
    add_usage,
    create_customer,
    create_world,
    terms,
)

SECOND = timedelta(seconds=1)


@pytest.fixture
def world(app: APIFlask, monkeypatch: pytest.MonkeyPatch) -> World:
    """Few customers that are treated as many."""
    monkeypatch.setattr("billtrack.billing.month_totals.queries.SMALL", 0)
    return create_world()


def rows() -> list[MonthSummary]:
    end_read()
    return list(db.session.scalars(select(MonthSummary).execution_options(populate_existing=True)))


def test_what_is_read_is_what_was_counted(world: World) -> None:
    counted = count_month(DAYS, terms=terms())
    assert refresh(terms=terms())
    end_read()
    names = {user.id: user.name for user in db.session.scalars(select(User))}
    later = terms(NOW + SECOND)
    assert get_overview(DAYS, terms=later) == counted.overview.named(names)
    assert list_costs(DAYS, terms=later) == counted.costs
    assert get_overview(DAYS, terms=later).ranking[0].name == "Moved"


def test_it_is_read_for_two_minutes_and_then_counted_again(world: World) -> None:
    refresh(terms=terms())
    add_usage(world.quiet, {TODAY: 10_000_000})
    kept = get_overview(DAYS, terms=terms(NOW + FRESH_FOR - SECOND))
    assert kept.taken_at == NOW
    assert list_costs(DAYS, terms=terms(NOW + FRESH_FOR - SECOND))[world.quiet].minor == 0
    anew = get_overview(DAYS, terms=terms(NOW + FRESH_FOR))
    assert anew.taken_at == NOW + FRESH_FOR
    assert anew.revenue["USD"] > kept.revenue["USD"]
    assert list_costs(DAYS, terms=terms(NOW + FRESH_FOR))[world.quiet].minor > 0


def test_few_customers_are_always_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    refresh(terms=terms())
    add_usage(world.quiet, {TODAY: 10_000_000})
    monkeypatch.setattr("billtrack.billing.month_totals.queries.SMALL", 7)
    assert get_overview(DAYS, terms=terms(NOW + SECOND)).taken_at == NOW + SECOND
    assert not refresh(terms=terms(NOW + timedelta(hours=1)))
    with transaction():
        create_customer("eighth")
    assert get_overview(DAYS, terms=terms(NOW + SECOND)).taken_at == NOW


@pytest.mark.parametrize(
    "days",
    [
        DateRange(DAYS.first, TODAY + timedelta(days=1)),
        DateRange(DAYS.first, TODAY - timedelta(days=1)),
        DateRange(Month(2026, 2).first, Month(2026, 2).last),
    ],
)
def test_it_answers_for_its_own_days_only(world: World, days: DateRange) -> None:
    refresh(terms=terms())
    assert get_overview(days, terms=terms(NOW + SECOND)).days == days


def test_pages_write_nothing(world: World) -> None:
    get_overview(DAYS, terms=terms())
    list_costs(DAYS, terms=terms())
    assert rows() == []


def test_a_new_name_shows_at_once(world: World) -> None:
    refresh(terms=terms())
    with transaction() as session:
        user = session.get(User, world.moved)
        assert user is not None
        user.name = "Moved again"
    assert get_overview(DAYS, terms=terms()).ranking[0].name == "Moved again"


def test_it_is_taken_again_after_three_quarters_of_a_minute(world: World) -> None:
    assert refresh(terms=terms())
    assert not refresh(terms=terms(NOW + REFRESH_AFTER - SECOND))
    assert refresh(terms=terms(NOW + REFRESH_AFTER))
    assert [row.taken_at for row in rows()] == [NOW + REFRESH_AFTER]


def test_what_a_clock_that_was_ahead_took_is_taken_again(world: World) -> None:
    assert refresh(terms=terms(NOW + timedelta(minutes=10)))
    assert refresh(terms=terms())
    assert [row.taken_at for row in rows()] == [NOW]


def test_a_new_day_is_taken_at_once(world: World) -> None:
    midnight = NOW.replace(hour=23, minute=59, second=59)
    assert refresh(terms=terms(midnight))
    assert refresh(terms=terms(midnight + SECOND))
    assert [(row.month, row.covers_through) for row in rows()] == [
        (DAYS.first, TODAY + timedelta(days=1))
    ]


def test_every_month_has_a_row_of_its_own(world: World) -> None:
    refresh(terms=terms())
    refresh(terms=terms(NOW + timedelta(days=20)))
    assert [row.month for row in rows()] == [Month(2026, 3).first, Month(2026, 4).first]


def test_the_latest_count_stays_whoever_is_done_last(world: World) -> None:
    refresh(terms=terms(NOW + timedelta(seconds=30)))
    add_usage(world.quiet, {TODAY: 10_000_000})
    end_read()
    late = count_month(DAYS, terms=terms())
    with transaction():
        operations._keep(late)
    [row] = rows()
    assert row.taken_at == NOW + timedelta(seconds=30)
    assert row.overview["taken_at"] == row.taken_at.isoformat()


def test_two_workers_at_once_leave_one_count(
    world: World, app: APIFlask, monkeypatch: pytest.MonkeyPatch
) -> None:
    meet = threading.Barrier(2, timeout=60)
    count = count_month

    def count_together(*args: Any, **options: Any) -> Any:
        summary = count(*args, **options)
        meet.wait()
        return summary

    monkeypatch.setattr(operations, "count_month", count_together)
    done: list[bool] = []

    def work(seconds: int) -> None:
        with app.app_context():
            done.append(refresh(terms=terms(NOW + seconds * SECOND)))
            db.session.remove()

    end_read()
    workers = [threading.Thread(target=work, args=(seconds,)) for seconds in (1, 2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert done == [True, True]
    assert [row.taken_at for row in rows()] == [NOW + 2 * SECOND]


def test_everything_is_read_from_one_snapshot(
    world: World, app: APIFlask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def price_while_usage_arrives(*args: Any) -> Any:
        thread = threading.Thread(target=arrive)
        thread.start()
        thread.join()
        return price_spans(*args)

    arrived: Iterator[int] = iter([world.quiet])

    def arrive() -> None:
        with app.app_context():
            for user_id in arrived:
                add_usage(user_id, {TODAY: 10_000_000})
            db.session.remove()

    before = count_month(DAYS, terms=terms()).overview.revenue
    monkeypatch.setattr(counting, "price_spans", price_while_usage_arrives)
    assert refresh(terms=terms())
    [row] = rows()
    assert row.overview["revenue"] == before
    for customer in row.overview["ranking"]:
        assert customer["months"][-1] == customer["minor"]
    assert count_month(DAYS, terms=terms()).overview.revenue != before


def test_it_counts_what_arrived_since_the_session_last_read(world: World, app: APIFlask) -> None:
    before = count_month(DAYS, terms=terms()).costs[world.quiet]

    def arrive() -> None:
        with app.app_context():
            add_usage(world.quiet, {TODAY: 10_000_000})
            db.session.remove()

    thread = threading.Thread(target=arrive)
    thread.start()
    thread.join()
    assert refresh(terms=terms())
    assert list_costs(DAYS, terms=terms())[world.quiet].minor > before.minor


def test_nothing_stored_is_a_float_or_a_name(world: World) -> None:
    refresh(terms=terms())
    [row] = rows()
    found = [value for part in (row.overview, row.customers) for value in leaves(part)]
    assert {type(value) for value in found} <= {int, str}
    assert "Moved" not in found


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    else:
        yield value


def test_an_installation_without_anybody_has_an_overview(
    app: APIFlask, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert get_overview(DAYS, terms=terms()).revenue == {}
    monkeypatch.setattr("billtrack.billing.month_totals.queries.SMALL", -1)
    assert refresh(terms=terms())
    assert get_overview(DAYS, terms=terms()).ranking == []
    assert list_costs(DAYS, terms=terms()) == {}
    assert db.session.scalar(select(func.count()).select_from(MonthSummary)) == 1
