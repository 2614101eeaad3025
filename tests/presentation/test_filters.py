"""Money, quantities and times are written exactly, and in one way."""

from __future__ import annotations

from datetime import UTC, date, datetime
from fractions import Fraction
from zoneinfo import ZoneInfo

import pytest
from flask import Flask, render_template_string
from hypothesis import given
from hypothesis import strategies as st

from billtrack.presentation import filters
from billtrack.presentation.filters import MeterView

CALLS = MeterView("api_calls", "API calls", "call", "call", 1, 1)
UPTIME = MeterView("vm_uptime", "VM uptime", "second", "hour", 3600, 2)
STORAGE = MeterView("data_storage", "Data storage", "GB-hour", "GB-hour", 1, 4)


def plain(text: str) -> str:
    return text.replace(filters.NO_BREAK, " ")


@pytest.mark.parametrize(
    ("minor", "currency", "written"),
    [
        (1420831, "USD", "$14,208.31"),
        (0, "USD", "$0.00"),
        (-5, "USD", "−$0.05"),
        (1234, "JPY", "¥1,234"),
        (12345, "KWD", "KWD 12.345"),
        (10**30 + 1, "EUR", "€10,000,000,000,000,000,000,000,000,000.01"),
    ],
)
def test_it_writes_money_with_the_places_of_its_currency(
    minor: int, currency: str, written: str
) -> None:
    assert plain(filters.money(minor, currency)) == written


@given(st.integers(min_value=-(10**40), max_value=10**40))
def test_it_writes_amounts_that_read_back_as_the_same_minor_units(minor: int) -> None:
    written = filters.amount(minor, "USD").replace(",", "").replace(filters.MINUS, "-")
    assert int(written.replace(".", "")) == minor


@pytest.mark.parametrize(
    ("value", "meter", "written"),
    [
        (1642000, CALLS, "1,642,000"),
        (2190 * 3600, UPTIME, "2,190.0 h"),
        (180, UPTIME, "0.1 h"),
        (179, UPTIME, "0.0 h"),
        (-180, UPTIME, "−0.1 h"),
        (61200, STORAGE, "61,200 GB·h"),
        (10**18, UPTIME, "277,777,777,777,777.8 h"),
    ],
)
def test_it_writes_quantities_in_the_display_unit_half_up(
    value: int, meter: MeterView, written: str
) -> None:
    assert plain(filters.quantity(value, meter)) == written


@pytest.mark.parametrize(
    ("text", "exact", "rounded"),
    [
        ("8.468000", "8.468", "8.47"),
        ("45", "45.00", "45.00"),
        ("-0.005", "−0.005", "−0.01"),
        ("1234567890123456.123456789012", "1,234,567,890,123,456.123456789012", None),
    ],
)
def test_it_writes_exact_amounts_with_all_their_places(
    text: str, exact: str, rounded: str | None
) -> None:
    assert filters.exact(text, "USD") == exact
    assert rounded is None or filters.rounded(text, "USD") == rounded


@pytest.mark.parametrize(
    ("price", "per", "meter", "written"),
    [
        ("0", 1000, CALLS, "free"),
        ("0.50", 1000, CALLS, "$0.50 per 1,000"),
        ("0.0116", 3600, UPTIME, "$0.0116 per hour"),
        ("0.000003", 1, UPTIME, "$0.000003 per second"),
        ("0.025", 730, STORAGE, "$0.025 per 730 GB·h"),
    ],
)
def test_it_says_a_price_in_the_display_unit(
    price: str, per: int, meter: MeterView, written: str
) -> None:
    assert plain(filters.rate(price, per, meter, "USD")) == written


@pytest.mark.parametrize(
    ("above", "up_to", "meter", "written"),
    [
        (0, 10000, CALLS, "first 10,000"),
        (10000, 100000, CALLS, "10,000 to 100,000"),
        (2628000, None, UPTIME, "above 730 h"),
        (0, None, UPTIME, "all"),
        (0, 1125360, UPTIME, "first 312.6 h"),
        (0, 3601, UPTIME, "first 3,601 s"),
    ],
)
def test_it_never_rounds_the_bound_of_a_tier(
    above: int, up_to: int | None, meter: MeterView, written: str
) -> None:
    assert plain(filters.tier_span(above, up_to, meter)) == written


@pytest.mark.parametrize(
    ("first", "last", "written"),
    [
        (date(2026, 11, 1), date(2026, 11, 22), "1–22 Nov 2026"),
        (date(2026, 11, 1), date(2026, 11, 30), "November 2026"),
        (date(2028, 2, 1), date(2028, 2, 29), "February 2028"),
        (date(2026, 12, 1), date(2026, 12, 31), "December 2026"),
        (date(2026, 11, 6), date(2026, 11, 6), "6 Nov 2026"),
        (date(2026, 10, 5), date(2026, 11, 3), "5 Oct – 3 Nov 2026"),
        (date(2025, 12, 5), date(2026, 1, 3), "5 Dec 2025 – 3 Jan 2026"),
    ],
)
def test_it_writes_inclusive_days_as_shortly_as_they_allow(
    first: date, last: date, written: str
) -> None:
    assert filters.day_range(first, last) == written


def test_it_shows_an_instant_in_the_billing_time_zone_and_keeps_utc_for_machines() -> None:
    app = Flask(__name__)
    filters.register_filters(app, timezone="Europe/Berlin")
    with app.app_context():
        html = render_template_string(
            "{{ at|when }}", at=datetime(2026, 11, 22, 23, 30, tzinfo=UTC)
        )
    assert 'datetime="2026-11-22T23:30:00Z"' in html
    assert ">23 Nov 2026, 00:30</time>" in html
    assert "Europe/Berlin" in html


def test_it_refuses_an_instant_without_a_zone() -> None:
    naive = datetime(2026, 11, 22, 23, 30)  # noqa: DTZ001 (that is what is refused)
    with pytest.raises(ValueError, match="aware"):
        filters.when(naive, zone=ZoneInfo("UTC"))


@pytest.mark.parametrize(
    ("now", "before", "written"),
    [(1084, 1000, "↑ 8.4 %"), (970, 1000, "↓ 3.0 %"), (5, 5, "unchanged"), (5, 0, "")],
)
def test_it_says_how_a_figure_moved(now: int, before: int, written: str) -> None:
    assert plain(filters.change(now, before)) == written


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Fraction(0), "0"),
        (Fraction(800), "800"),
        (Fraction(5000), "5,000"),
        (Fraction(1, 20), "0.05"),
        (Fraction(12000), "12k"),
        (Fraction(2500000), "2.5M"),
        (Fraction(-20000), "−20k"),
    ],
)
def test_it_writes_the_figures_of_an_axis_shortly(value: Fraction, written: str) -> None:
    assert filters.axis_text(value) == written
