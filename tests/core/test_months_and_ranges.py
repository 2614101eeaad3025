from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billtrack.core.periods import DateRange, Month

days = st.dates(date(1970, 1, 1), date(2100, 12, 31))


def test_it_knows_the_days_of_a_month() -> None:
    leap = Month.parse("2028-02")
    assert (leap.first, leap.last, leap.days) == (date(2028, 2, 1), date(2028, 2, 29), 29)
    assert leap.dates == DateRange(leap.first, leap.last)
    assert str(leap) == "2028-02"
    assert Month.of(date(2026, 10, 31)) == Month(2026, 10)


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026", "2026-1", "2026-13", "2026-00", "2026-010", "26-10", "2026/10", " 2026-10"),
        *("2026-10\n", "2026-10-01", "+026-10", "٢٠٢٦-10", "0000-01", "9999-01", "1969-12"),
    ],
)
def test_it_refuses_what_is_no_month(text: str) -> None:
    with pytest.raises(ValueError, match="write a"):
        Month.parse(text)


@given(days)
def test_it_walks_months_in_order(day: date) -> None:
    month = Month.of(day)
    assert month.next.first == month.last + timedelta(days=1)
    assert month.next.previous == month
    assert month < month.next
    assert Month.parse(str(month)) == month


def test_it_refuses_a_reversed_range() -> None:
    with pytest.raises(ValueError, match="before it begins"):
        DateRange(date(2026, 10, 2), date(2026, 10, 1))


def test_it_includes_both_ends_of_a_range() -> None:
    dates = DateRange(date(2026, 10, 30), date(2026, 11, 1))
    assert dates.days == 3
    assert list(dates) == [date(2026, 10, 30), date(2026, 10, 31), date(2026, 11, 1)]
    assert dates.contains(dates.first)
    assert dates.contains(dates.last)
    assert not dates.contains(date(2026, 11, 2))
    assert str(dates) == "2026-10-30..2026-11-01"


def test_it_iterates_up_to_the_end_of_time() -> None:
    assert list(DateRange(date.max, date.max)) == [date.max]


@given(days, st.integers(0, 800))
def test_it_cuts_a_range_into_the_months_it_touches(first: date, length: int) -> None:
    dates = DateRange(first, first + timedelta(days=length))
    pieces = list(dates.months())
    assert [day for _, piece in pieces for day in piece] == list(dates)
    assert all(Month.of(day) == month for month, piece in pieces for day in piece)
    assert [month for month, _ in pieces] == sorted({Month.of(day) for day in dates})


@given(days, st.integers(0, 60), st.integers(-70, 70), st.integers(0, 60))
def test_it_intersects_as_sets_of_days_do(first: date, a: int, shift: int, b: int) -> None:
    one = DateRange(first + timedelta(days=70), first + timedelta(days=70 + a))
    other_first = one.first + timedelta(days=shift)
    other = DateRange(other_first, other_first + timedelta(days=b))
    common = one.intersect(other)
    assert list(common or []) == sorted(set(one) & set(other))
    assert common == other.intersect(one)
