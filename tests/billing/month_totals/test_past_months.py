"""Months that are over are kept, too, so that many customers do not hide them."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from apiflask import APIFlask

from billtrack.billing.month_totals.counting import count_month
from billtrack.billing.month_totals.operations import (
    LAST_MONTH_AFTER,
    OLDER_AFTER,
    refresh,
    refresh_past,
)
from billtrack.billing.month_totals.queries import get_overview, list_kept_months
from billtrack.core.periods import DateRange, Month
from tests.billing.month_totals.world import NOW, World, add_usage, create_world, terms

SECOND = timedelta(seconds=1)
LAST = Month(2026, 2)
OLDER = Month(2026, 1)
FIRST = Month(2025, 3)


@pytest.fixture
def world(app: APIFlask, monkeypatch: pytest.MonkeyPatch) -> World:
    """Few customers that are treated as many."""
    monkeypatch.setattr("billtrack.billing.month_totals.queries.SMALL", 0)
    return create_world()


def refresh_all() -> None:
    while refresh_past(terms=terms()):
        pass


def test_one_month_is_taken_at_a_time_the_newest_first(world: World) -> None:
    for past in (LAST, OLDER):
        assert refresh_past(terms=terms())
        assert list_kept_months(terms=terms())[-1] == past
    refresh_all()
    kept = list_kept_months(terms=terms())
    assert (len(kept), kept[0], kept[-1]) == (12, LAST, FIRST)


def test_what_is_kept_is_the_whole_month(world: World) -> None:
    refresh_all()
    for month in (LAST, OLDER):
        counted = count_month(month.dates, terms=terms()).overview
        kept = get_overview(month.dates, terms=terms(NOW + SECOND))
        assert (kept.revenue, kept.days, kept.taken_at) == (counted.revenue, month.dates, NOW)
        assert sum(kept.revenue.values()) > 0


def test_late_usage_enters_when_the_month_is_counted_again(world: World) -> None:
    refresh_all()
    before = get_overview(LAST.dates, terms=terms()).revenue["USD"]
    add_usage(world.quiet, {date(2026, 2, 3): 10_000_000})
    assert not refresh_past(terms=terms(NOW + LAST_MONTH_AFTER - SECOND))
    assert get_overview(LAST.dates, terms=terms(NOW + SECOND)).revenue["USD"] == before
    assert refresh_past(terms=terms(NOW + LAST_MONTH_AFTER))
    assert get_overview(LAST.dates, terms=terms(NOW + LAST_MONTH_AFTER)).revenue["USD"] > before


def test_older_months_are_taken_again_every_six_hours(world: World) -> None:
    refresh_all()
    later = terms(NOW + OLDER_AFTER - SECOND)
    assert refresh_past(terms=later)  # last month
    assert not refresh_past(terms=later)
    assert refresh_past(terms=terms(NOW + OLDER_AFTER))


def test_what_nobody_keeps_fresh_is_counted_and_not_offered(world: World) -> None:
    refresh_all()
    for month, age in ((LAST, timedelta(minutes=20)), (OLDER, timedelta(hours=12))):
        now = NOW + age
        assert month in list_kept_months(terms=terms(now - SECOND))
        assert get_overview(month.dates, terms=terms(now - SECOND)).taken_at == NOW
        assert month not in list_kept_months(terms=terms(now))
        assert get_overview(month.dates, terms=terms(now)).taken_at == now


def test_a_month_kept_before_it_ended_is_not_taken_for_the_whole(world: World) -> None:
    refresh(terms=terms())
    days = DateRange(Month(2026, 3).first, Month(2026, 3).last)
    next_month = terms(NOW + timedelta(days=20))
    assert list_kept_months(terms=next_month) == []
    assert get_overview(days, terms=next_month).days == days


def test_few_customers_need_nothing_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("billtrack.billing.month_totals.queries.SMALL", 7)
    assert not refresh_past(terms=terms())
