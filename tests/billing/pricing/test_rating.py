from __future__ import annotations

from fractions import Fraction

import pytest

from billtrack.billing.pricing.charges import parse_charge
from billtrack.billing.pricing.rating import Rated, rate
from tests.billing.pricing.factories import Raw, create_charge, create_tiered

EDGES = ((100, "1"), (200, "0.5"), (None, "0.25"))


def rated(charge: Raw, quantity: int, currency: str = "USD") -> Rated:
    return rate(charge=parse_charge(charge), quantity=quantity, currency=currency)


@pytest.mark.parametrize(
    ("model", "quantity", "tiers"),
    [
        ("graduated", 0, []),
        ("graduated", 100, [(0, 100, 100, "100")]),
        ("graduated", 101, [(0, 100, 100, "100"), (100, 200, 1, "0.5")]),
        ("graduated", 200, [(0, 100, 100, "100"), (100, 200, 100, "50")]),
        ("graduated", 204, [(0, 100, 100, "100"), (100, 200, 100, "50"), (200, None, 4, "1")]),
        ("volume", 0, []),
        ("volume", 100, [(0, 100, 100, "100")]),
        ("volume", 101, [(100, 200, 101, "50.5")]),
        ("volume", 400, [(200, None, 400, "100")]),
    ],
)
def test_it_lists_the_tiers_that_price_something(
    model: str, quantity: int, tiers: list[tuple[int, int | None, int, str]]
) -> None:
    found = rated(create_tiered(model, *EDGES), quantity).tiers
    assert [(tier.above, tier.up_to, tier.quantity, tier.amount) for tier in found] == [
        (above, up_to, units, Fraction(amount)) for above, up_to, units, amount in tiers
    ]


@pytest.mark.parametrize(
    ("model", "quantity", "amount"),
    [("per_unit", 7, "7/2"), ("package", 7, "3"), ("package", 6, "2"), ("package", 9, "3")],
)
def test_it_gives_untiered_models_one_entry(model: str, quantity: int, amount: str) -> None:
    prices = {"per_unit": ("1.5", 3), "package": ("1", 3)}
    unit_price, per = prices[model]
    (tier,) = rated(create_charge(unit_price, model=model, per=per), quantity).tiers
    assert (tier.above, tier.up_to, tier.quantity, tier.per) == (0, None, quantity, per)
    assert (tier.amount, tier.flat_fee) == (Fraction(amount), Fraction(0))


def test_it_charges_a_flat_fee_in_every_tier_entered() -> None:
    tiers = [
        {"up_to": 10, "unit_price": "1", "flat_fee": "5"},
        {"up_to": None, "unit_price": "0.5", "flat_fee": "2"},
    ]
    charge: Raw = {"meter": "api_calls", "model": "graduated", "tiers": tiers}
    assert [tier.flat_fee for tier in rated(charge, 10).tiers] == [5]
    assert [tier.flat_fee for tier in rated(charge, 11).tiers] == [5, 2]
    assert rated(charge, 11).model_amount == Fraction("17.5")
    assert rated({**charge, "model": "volume"}, 11).model_amount == Fraction("7.5")
    assert rated({**charge, "included": 11}, 11).model_amount == 0


def test_it_takes_the_included_units_off_first() -> None:
    result = rated(create_charge("1", included=30), 50)
    assert (result.quantity, result.included, result.billable_quantity) == (50, 30, 20)
    assert result.amount == 2000
    assert rated(create_charge("1", included=30), 30).tiers == ()
    assert rated(create_charge("1", included=30), 12).billable_quantity == 0


@pytest.mark.parametrize(
    ("quantity", "applied", "amount"),
    [
        (0, "minimum", 1000),
        (9, "minimum", 1000),
        (10, None, 1000),
        (20, None, 2000),
        (21, "maximum", 2000),
    ],
)
def test_it_caps_and_floors_after_the_model(
    quantity: int, applied: str | None, amount: int
) -> None:
    result = rated(create_charge("1", minimum="10", maximum="20"), quantity)
    assert result.model_amount == quantity
    assert (result.applied, result.amount) == (applied, amount)
    assert result.exact_amount * 100 == amount


@pytest.mark.parametrize(
    ("currency", "quantity", "amount"),
    [("JPY", 3, 2), ("JPY", 2, 1), ("USD", 1, 50), ("KWD", 1, 500)],
)
def test_it_rounds_to_the_currency(currency: str, quantity: int, amount: int) -> None:
    assert rated(create_charge("0.5"), quantity, currency).amount == amount


def test_it_rounds_once_and_not_per_tier() -> None:
    halves = create_tiered("graduated", (1, "0.005"), (2, "0.005"), (None, "0"))
    assert rated(halves, 2).amount == 1


def test_it_stays_exact_at_the_largest_quantities() -> None:
    result = rated(create_charge("0.000000000001", per=7), 10**18)
    assert result.exact_amount == Fraction(10**6, 7)
    assert result.amount == 14285714
