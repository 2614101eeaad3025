from __future__ import annotations

import json
from fractions import Fraction

import pytest

from billtrack.billing.pricing.charges import (
    Charge,
    InvalidCharge,
    Tier,
    charge_to_json,
    parse_charge,
)
from tests.billing.pricing.factories import Raw, create_charge, create_prices, create_tiered


def fields_refused(data: Raw) -> list[str]:
    with pytest.raises(InvalidCharge) as caught:
        parse_charge(data)
    assert caught.value.code == "invalid_charge"
    assert caught.value.errors[0].field in caught.value.detail
    return [error.field for error in caught.value.errors]


def test_it_reads_a_tiered_charge() -> None:
    tiers = [
        {"up_to": 10, "unit_price": "1.50", "flat_fee": "5"},
        {"up_to": None, "unit_price": "0.1"},
    ]
    charge = parse_charge(
        {"meter": "cpu_time", "model": "graduated", "per": 3600, "tiers": tiers, "minimum": "2"}
    )
    assert charge == Charge(
        meter="cpu_time",
        model="graduated",
        per=3600,
        tiers=(Tier(10, Fraction(3, 2), Fraction(5)), Tier(None, Fraction(1, 10), Fraction(0))),
        minimum=Fraction(2),
    )


def test_it_reads_prices_written_differently_as_equal() -> None:
    plain = parse_charge(create_charge("0.5"))
    padded = parse_charge(
        create_charge("00.50", per=1, included=0, tiers=None, minimum="0.0", maximum=None)
    )
    assert plain == padded
    assert charge_to_json(plain) == charge_to_json(padded)


def test_it_keeps_a_maximum_of_zero() -> None:
    assert parse_charge(create_charge(maximum="0")).maximum == 0


def test_it_writes_a_canonical_form() -> None:
    tiered = create_tiered("volume", (100, "1.00"), (None, "0.50"), maximum="10.0")
    written = charge_to_json(parse_charge(tiered))
    assert written == {
        "meter": "api_calls",
        "model": "volume",
        "per": 1,
        "included": 0,
        "tiers": [
            {"up_to": 100, "unit_price": "1", "flat_fee": "0"},
            {"up_to": None, "unit_price": "0.5", "flat_fee": "0"},
        ],
        "minimum": None,
        "maximum": "10",
    }
    assert parse_charge(json.loads(json.dumps(written))) == parse_charge(tiered)
    assert "tiers" not in charge_to_json(parse_charge(create_charge()))


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        ({}, ["meter", "model"]),
        (create_charge(meter=""), ["meter"]),
        ({"meter": 5, "model": "per_unit", "unit_price": "1"}, ["meter"]),
        (create_charge(model="flat"), ["model"]),
        (create_charge(model=["per_unit"]), ["model"]),
        (create_charge(extra=1, unknown=2), ["extra", "unknown"]),
        (create_charge(per=0), ["per"]),
        (create_charge(per=True), ["per"]),
        (create_charge(per="1"), ["per"]),
        (create_charge(per=1.0), ["per"]),
        (create_charge(per=None), ["per"]),
        (create_charge(included=-1), ["included"]),
        (create_charge(included=False), ["included"]),
        (create_charge(included=10**18 + 1), ["included"]),
        (create_charge("-1"), ["unit_price"]),
        (create_charge("1e3"), ["unit_price"]),
        ({"meter": "m", "model": "per_unit", "unit_price": 1}, ["unit_price"]),
        ({"meter": "m", "model": "per_unit", "unit_price": 0.5}, ["unit_price"]),
        ({"meter": "m", "model": "per_unit"}, ["unit_price"]),
        ({"meter": "m", "model": "package"}, ["unit_price"]),
        ({"meter": "m", "model": "graduated"}, ["tiers"]),
        ({"meter": "m", "model": "volume", "unit_price": "1"}, ["unit_price", "tiers"]),
        (create_charge(tiers=[]), ["tiers"]),
        (create_tiered("graduated", (None, "1"), unit_price="1"), ["unit_price"]),
        (create_charge(minimum="2", maximum="1"), ["minimum"]),
        (create_charge(minimum="-1"), ["minimum"]),
        (create_charge(maximum=5), ["maximum"]),
    ],
)
def test_it_names_the_field_that_is_wrong(data: Raw, fields: list[str]) -> None:
    assert fields_refused(data) == fields


@pytest.mark.parametrize(
    ("tiers", "fields"),
    [
        ([], ["tiers"]),
        ({}, ["tiers"]),
        ("null", ["tiers"]),
        ([None], ["tiers.0"]),
        ([{"up_to": 10, "unit_price": "1"}], ["tiers.0.up_to"]),
        ([{"unit_price": "1"}], ["tiers.0.up_to"]),
        ([{"up_to": None}], ["tiers.0.unit_price"]),
        ([{"up_to": None, "unit_price": "1", "flat_fee": None}], ["tiers.0.flat_fee"]),
        ([{"up_to": None, "unit_price": "1", "flat_fee": "-1"}], ["tiers.0.flat_fee"]),
        ([{"up_to": None, "unit_price": "1", "price": "1"}], ["tiers.0.price"]),
    ],
)
def test_it_names_what_is_wrong_in_a_tier(tiers: object, fields: list[str]) -> None:
    assert fields_refused({"meter": "m", "model": "graduated", "tiers": tiers}) == fields


@pytest.mark.parametrize(
    ("bounds", "fields"),
    [
        ([10, 10, None], ["tiers.1.up_to"]),
        ([10, 9, None], ["tiers.1.up_to"]),
        ([10, 5, 7, None], ["tiers.1.up_to", "tiers.2.up_to"]),
        ([0, None], ["tiers.0.up_to"]),
        ([-1, None], ["tiers.0.up_to"]),
        ([True, None], ["tiers.0.up_to"]),
        (["10", None], ["tiers.0.up_to"]),
        ([1.5, None], ["tiers.0.up_to"]),
        ([None, None], ["tiers.0.up_to"]),
        ([10, 20], ["tiers.1.up_to"]),
    ],
)
def test_it_wants_bounds_that_ascend_to_no_end(bounds: list[object], fields: list[str]) -> None:
    tiers = [{"up_to": bound, "unit_price": "1"} for bound in bounds]
    assert fields_refused({"meter": "m", "model": "volume", "tiers": tiers}) == fields


def test_it_reports_all_that_is_wrong_at_once() -> None:
    data = {"meter": "", "model": "graduated", "per": 0, "tiers": [{"up_to": 1}], "minimum": "x"}
    assert fields_refused(data) == [
        *("meter", "minimum", "tiers.0.up_to", "tiers.0.unit_price", "per")
    ]


def test_it_finds_the_charge_of_a_meter() -> None:
    prices = create_prices(create_charge("1"), create_charge("2", meter="cpu_time"))
    found = prices.charge_for("cpu_time")
    assert found is not None
    assert found.unit_price == 2
    assert prices.charge_for("vm_uptime") is None


def test_it_refuses_two_charges_of_one_meter() -> None:
    with pytest.raises(InvalidCharge) as caught:
        create_prices(create_charge("1"), create_charge("2"))
    assert caught.value.errors[0].field == "charges.1.meter"
