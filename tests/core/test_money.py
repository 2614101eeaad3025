from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billtrack.core.money import (
    format_exact,
    format_minor,
    major_units,
    minor_unit_places,
    parse_decimal,
    printed_exact,
    round_half_up,
)


@pytest.mark.parametrize(
    ("currency", "places"),
    [("USD", 2), ("EUR", 2), ("JPY", 0), ("KRW", 0), ("KWD", 3), ("TND", 3), ("CLF", 4)],
)
def test_it_knows_the_places_of_a_currency(currency: str, places: int) -> None:
    assert minor_unit_places(currency) == places


@pytest.mark.parametrize("currency", ["usd", "XXX", "XAU", "DEM", "HRK", "US", "", "US$", "USD "])
def test_it_refuses_what_is_no_active_currency(currency: str) -> None:
    with pytest.raises(ValueError, match="ISO 4217"):
        minor_unit_places(currency)


@pytest.mark.parametrize(
    ("amount", "places", "minor"),
    [
        ("0.005", 2, 1),
        ("-0.005", 2, -1),
        ("0.0049999999999999", 2, 0),
        ("-0.0049999999999999", 2, 0),
        ("2.675", 2, 268),
        ("1.5", 0, 2),
        ("2.5", 0, 3),
        ("-2.5", 0, -3),
        ("0.0005", 3, 1),
        ("1/3", 2, 33),
        ("2/3", 2, 67),
        ("0", 2, 0),
    ],
)
def test_it_rounds_half_away_from_zero(amount: str, places: int, minor: int) -> None:
    assert round_half_up(Fraction(amount), places=places) == minor


@given(st.decimals(-(10**9), 10**9, places=8), st.integers(0, 4))
def test_it_rounds_as_decimal_does(amount: Decimal, places: int) -> None:
    expected = amount.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
    assert round_half_up(Fraction(amount), places=places) == expected.scaleb(places)


@pytest.mark.parametrize(
    ("minor", "currency", "text"),
    [
        (20500, "USD", "205.00"),
        (-5, "USD", "-0.05"),
        (0, "USD", "0.00"),
        (2, "JPY", "2"),
        (-2, "JPY", "-2"),
        (1, "KWD", "0.001"),
        (123456, "KWD", "123.456"),
        (10**20, "EUR", "1000000000000000000.00"),
    ],
)
def test_it_writes_minor_units_as_major(minor: int, currency: str, text: str) -> None:
    assert format_minor(minor, currency) == text
    assert Fraction(text) == major_units(minor, currency)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("0.50", "1/2"),
        ("-3", "-3"),
        ("-0.0", "0"),
        ("007", "7"),
        ("0.000000000001", "1/1000000000000"),
        ("999999999999999999.999999999999", "999999999999999999999999999999/1000000000000"),
    ],
)
def test_it_reads_plain_decimals(text: str, value: str) -> None:
    assert parse_decimal(text) == Fraction(value)


@pytest.mark.parametrize(
    "text",
    [
        *("", " 1", "1 ", "1\n", "+1", "1e3", "1E3", "NaN", "inf", "-", ".5", "5.", "1.2.3", "1,5"),
        *("1_000", "0x1", "1/2", "--1", "٣", "½", "0.0000000000001", "1" * 19),
    ],
)
def test_it_refuses_every_other_spelling(text: str) -> None:
    with pytest.raises(ValueError, match="plain decimal"):
        parse_decimal(text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("1/2", "0.5"),
        ("45", "45"),
        ("100", "100"),
        ("0", "0"),
        ("-1/4", "-0.25"),
        ("1/3", "0.333333333333"),
        ("2/3", "0.666666666667"),
        ("-2/3", "-0.666666666667"),
        ("1/2000000000000", "0.000000000001"),
        ("-1/3000000000000", "0"),
    ],
)
def test_it_writes_exact_amounts_without_trailing_zeros(amount: str, text: str) -> None:
    assert format_exact(Fraction(amount)) == text


@given(st.fractions())
def test_it_prints_what_printed_exact_says(amount: Fraction) -> None:
    assert Fraction(format_exact(amount)) == printed_exact(amount)
    assert abs(printed_exact(amount) - amount) <= Fraction(1, 2 * 10**12)


@given(st.decimals(-(10**17), 10**17, places=12))
def test_it_reads_back_what_it_writes(amount: Decimal) -> None:
    assert parse_decimal(format_exact(Fraction(amount))) == Fraction(amount)
