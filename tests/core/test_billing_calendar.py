from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

import pytest

from billtrack.core.periods import BillingCalendar, DateRange, Month

ONE_DAY = timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
FIRST, LAST = date(2022, 1, 1), date(2032, 12, 31)


def days_worth_a_look(zone: ZoneInfo) -> Iterator[date]:
    """The firsts of all months, and the days around every change of the clock."""
    noons = [
        datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in DateRange(FIRST, LAST)
    ]
    previous = noons[0].astimezone(zone).utcoffset()
    for noon in noons:
        offset = noon.astimezone(zone).utcoffset()
        if offset != previous:
            yield from (noon.date() + timedelta(days=shift) for shift in (-2, -1, 0, 1, 2))
        elif noon.day == 1:
            yield noon.date()
        previous = offset


def assert_day_begins_there(name: str, day: date) -> None:
    billing = BillingCalendar(name)
    starts_at = billing.starts_at(day)
    assert starts_at.tzinfo is UTC
    assert billing.day_of(starts_at) == day, (name, day)
    assert billing.day_of(starts_at - MICROSECOND) == day - ONE_DAY, (name, day)


@pytest.mark.parametrize("initial", sorted({name[0] for name in available_timezones()}))
def test_it_finds_where_every_day_begins_in_every_zone(initial: str) -> None:
    for name in sorted(available_timezones()):
        if name.startswith(initial):
            for day in days_worth_a_look(ZoneInfo(name)):
                assert_day_begins_there(name, day)


@pytest.mark.parametrize(
    ("name", "day", "starts_at"),
    [
        ("America/Sao_Paulo", date(2018, 11, 4), datetime(2018, 11, 4, 3, tzinfo=UTC)),
        ("America/Havana", date(2026, 11, 1), datetime(2026, 11, 1, 4, tzinfo=UTC)),
        ("Africa/Cairo", date(2026, 4, 24), datetime(2026, 4, 23, 22, tzinfo=UTC)),
        ("Asia/Beirut", date(2026, 3, 29), datetime(2026, 3, 28, 22, tzinfo=UTC)),
        # The clock went from 23:30 to 00:30, so that the day began half an hour past midnight.
        ("America/Toronto", date(1919, 3, 31), datetime(1919, 3, 31, 4, 30, tzinfo=UTC)),
    ],
)
def test_it_begins_a_day_where_the_clock_jumps_over_midnight(
    name: str, day: date, starts_at: datetime
) -> None:
    assert BillingCalendar(name).starts_at(day) == starts_at
    assert_day_begins_there(name, day)


@pytest.mark.parametrize(
    ("month", "hours"), [("2026-03", 743), ("2026-10", 745), ("2026-12", 744), ("2026-11", 720)]
)
def test_it_counts_the_hours_of_a_month(month: str, hours: int) -> None:
    starts_at, ends_at = BillingCalendar("Europe/Berlin").period_of(Month.parse(month).dates)
    assert ends_at - starts_at == timedelta(hours=hours)


def test_it_gives_half_open_instants() -> None:
    billing = BillingCalendar("Asia/Tokyo")
    dates = DateRange(date(2026, 10, 1), date(2026, 10, 15))
    starts_at, ends_at = billing.period_of(dates)
    assert starts_at == datetime(2026, 9, 30, 15, tzinfo=UTC)
    assert ends_at == datetime(2026, 10, 15, 15, tzinfo=UTC)
    assert billing.day_of(ends_at) == date(2026, 10, 16)
    assert billing.day_of(ends_at - MICROSECOND) == dates.last


def test_it_takes_an_instant_in_any_offset() -> None:
    instant = datetime(2026, 10, 31, 20, tzinfo=timezone(timedelta(hours=-5)))
    assert BillingCalendar("UTC").day_of(instant) == date(2026, 11, 1)
    assert BillingCalendar("America/New_York").today(instant) == date(2026, 10, 31)


def test_it_refuses_a_naive_time() -> None:
    with pytest.raises(ValueError, match="naive"):
        BillingCalendar("UTC").day_of(datetime(2026, 10, 1))  # noqa: DTZ001


def test_it_refuses_an_unknown_zone() -> None:
    with pytest.raises(ZoneInfoNotFoundError):
        BillingCalendar("Mars/Olympus")
