from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest

from billtrack.billing.pricing.charges import InvalidCharge, parse_charge
from billtrack.billing.pricing.lines import Line
from billtrack.billing.pricing.statement import MixedCurrencies, Statement, daily_costs, price_usage
from billtrack.core.periods import DateRange, Month
from tests.billing.pricing.factories import (
    METERS,
    create_charge,
    create_prices,
    create_range,
    create_span,
    create_tiered,
    create_usage,
    november,
    state,
)

GRADUATED = create_tiered("graduated", (100, "1"), (None, "0.5"))
VOLUME = create_tiered("volume", (100, "1"), (None, "0.25"))


def of_kind(statement: Statement, kind: str) -> list[Line]:
    return [line for line in statement.lines if line.kind == kind]


def only(statement: Statement, kind: str = "usage") -> Line:
    (line,) = of_kind(statement, kind)
    return line


def test_it_prices_a_whole_month() -> None:
    statement = state([create_span(create_prices(GRADUATED))], create_usage({1: 60, 20: 60}))
    line = only(statement)
    assert (line.id, line.plan, line.plan_version) == (
        "2026-11/usage/api_calls/2026-11-01",
        "standard",
        1,
    )
    assert (line.month, line.period, line.part) == (Month(2026, 11), create_range(), create_range())
    assert (line.quantity, line.billable_quantity, line.amount) == (120, 120, 11000)
    assert [(tier.above, tier.quantity, tier.amount) for tier in line.tiers] == [
        (0, 100, Fraction(100)),
        (100, 20, Fraction(10)),
    ]
    assert (statement.currency, statement.subtotal, statement.total) == ("USD", 11000, 11000)


def test_it_keeps_a_part_whole_when_a_version_changes_another_meter() -> None:
    storage = [create_charge(price, meter="data_storage") for price in ("1", "2")]
    spans = [
        create_span(create_prices(GRADUATED, storage[0], version=1), 1, 15),
        create_span(create_prices(GRADUATED, storage[1], version=2), 16, 30),
    ]
    usage = create_usage({1: 60, 20: 60}) | create_usage({1: 1, 20: 1}, "data_storage")
    calls, *stored = state(spans, usage).lines
    assert (calls.amount, calls.period, calls.plan_version) == (11000, create_range(), 2)
    assert [(line.amount, line.period, line.plan_version) for line in stored] == [
        (100, create_range(1, 15), 1),
        (200, create_range(16, 30), 2),
    ]
    first_half = state(spans, usage, create_range(1, 10)).lines[0]
    assert first_half.plan_version == 1
    assert first_half.part == create_range()


def test_it_joins_days_with_an_identical_charge_across_plans() -> None:
    spans = [
        create_span(create_prices(GRADUATED, plan="basic"), 1, 9),
        create_span(create_prices(GRADUATED, plan="pro", version=4), 10, 30),
    ]
    line = only(state(spans, create_usage({9: 100, 10: 100})))
    assert (line.plan, line.plan_version, line.amount) == ("pro", 4, 15000)


def test_it_starts_the_tiers_anew_when_the_charge_changes_or_a_gap_parts_the_days() -> None:
    prices = create_prices(GRADUATED)
    usage = create_usage({1: 150, 20: 150})
    changed = create_prices(create_tiered("graduated", (100, "1"), (None, "0.4")))
    lines = state([create_span(prices, 1, 10), create_span(changed, 11, 30)], usage).lines
    assert [line.amount for line in lines] == [12500, 12000]
    lines = state([create_span(prices, 1, 10), create_span(prices, 12, 30)], usage).lines
    assert [line.amount for line in lines] == [12500, 12500]


def test_it_cuts_parts_at_the_end_of_a_month() -> None:
    span = create_span(create_prices(GRADUATED))
    forever = type(span)(DateRange(date.min, date.max), span.prices)
    usage = {"api_calls": {date(2026, 10, 31): 150, date(2026, 11, 1): 150}}
    statement = state([forever], usage, DateRange(date(2026, 10, 20), date(2026, 12, 5)))
    assert [(line.id, line.amount) for line in statement.lines] == [
        ("2026-10/usage/api_calls/2026-10-01", 12500),
        ("2026-11/usage/api_calls/2026-11-01", 12500),
        ("2026-12/usage/api_calls/2026-12-01", 0),
    ]


def test_it_prorates_included_minimum_and_maximum_but_no_tier() -> None:
    charge = create_charge("1", included=100, minimum="30", maximum="90")
    span = create_span(create_prices(charge), 21, 30)
    line = only(state([span], create_usage({21: 34})))
    assert line.included == 34  # a third of 100, rounded up
    assert (line.applied, line.exact_amount, line.amount) == ("minimum", Fraction(10), 1000)
    capped = only(state([span], create_usage({25: 1000})))
    assert (capped.applied, capped.amount, capped.model_amount) == ("maximum", 3000, Fraction(966))
    tiered = create_span(create_prices(GRADUATED), 21, 30)
    assert only(state([tiered], create_usage({21: 120}))).amount == 11000
    assert capped.charge == parse_charge(charge)


def test_it_lets_the_minimum_enter_on_the_last_day_of_the_part() -> None:
    spans = [create_span(create_prices(create_charge("1", minimum="30")))]
    usage = create_usage({5: 10})
    early = only(state(spans, usage, create_range(1, 29)))
    assert (early.amount, early.applied) == (1000, None)
    last = only(state(spans, usage, create_range(30, 30)))
    assert (last.amount, last.applied, last.model_amount) == (2000, "minimum", Fraction(0))


def test_it_caps_every_day_of_a_part() -> None:
    spans = [create_span(create_prices(create_charge("1", maximum="15")))]
    usage = create_usage({5: 10, 6: 10, 7: 10})
    days = [only(state(spans, usage, create_range(day, day))) for day in (5, 6, 7)]
    assert [day.amount for day in days] == [1000, 500, 0]
    assert [day.applied for day in days] == [None, "maximum", "maximum"]
    assert [day.model_amount for day in days] == [10, 10, 10]


def test_it_shows_the_allowance_still_left_at_the_first_day() -> None:
    spans = [create_span(create_prices(create_charge("1", included=15)))]
    usage = create_usage({5: 10, 6: 10, 7: 10})
    days = [only(state(spans, usage, create_range(day, day))) for day in (5, 6, 7)]
    assert [(day.quantity, day.included, day.billable_quantity) for day in days] == [
        (10, 15, 0),
        (10, 5, 5),
        (10, 0, 10),
    ]


def test_it_shows_a_volume_day_that_is_negative() -> None:
    spans = [create_span(create_prices(VOLUME))]
    usage = create_usage({1: 100, 2: 20})
    line = only(state(spans, usage, create_range(2, 2)))
    assert line.amount == 3000 - 10000
    assert [(tier.above, tier.quantity, tier.amount) for tier in line.tiers] == [
        (0, -100, Fraction(-100)),
        (100, 120, Fraction(30)),
    ]
    assert line.model_amount == -70


def test_it_names_the_bound_that_holds_at_the_last_day() -> None:
    charge = create_tiered("volume", (100, "1"), (None, "0.25"), maximum="50")
    spans = [create_span(create_prices(charge))]
    line = only(state(spans, create_usage({1: 100, 2: 20}), create_range(2, 2)))
    assert (line.applied, line.amount) == (None, 3000 - 5000)


def test_it_leaves_out_tiers_that_did_not_change() -> None:
    spans = [create_span(create_prices(GRADUATED))]
    line = only(state(spans, create_usage({1: 100, 2: 20}), create_range(2, 2)))
    assert [(tier.above, tier.quantity) for tier in line.tiers] == [(100, 20)]
    assert only(state(spans, create_usage({1: 100}), create_range(2, 2))).tiers == ()


def test_it_charges_a_flat_fee_on_the_day_its_tier_is_entered() -> None:
    tiers = [{"up_to": None, "unit_price": "1", "flat_fee": "5"}]
    fee = create_prices({"meter": "api_calls", "model": "volume", "tiers": tiers})
    usage = create_usage({1: 1, 2: 1})
    first, second = (only(state([create_span(fee)], usage, create_range(d, d))) for d in (1, 2))
    assert (first.amount, first.tiers[0].flat_fee) == (600, Fraction(5))
    assert (second.amount, second.tiers[0].flat_fee) == (100, Fraction(0))


def test_it_yields_a_line_for_a_priced_meter_without_usage() -> None:
    line = only(state([create_span(create_prices(GRADUATED), 10, 20)], {}))
    assert (line.quantity, line.amount, line.tiers, line.period) == (0, 0, (), create_range(10, 20))
    assert (
        state([create_span(create_prices(GRADUATED), 10, 20)], {}, create_range(21, 30)).lines == ()
    )


def test_it_accrues_the_base_fee_by_day_from_the_middle_of_a_month() -> None:
    statement = state([create_span(create_prices(base_fee="10"), 21, 30)], {})
    line = only(statement, "base_fee")
    assert (line.id, line.meter) == ("2026-11/base_fee/2026-11-21", None)
    assert (line.amount, line.exact_amount, line.monthly_price) == (
        333,
        Fraction(10, 3),
        Fraction(10),
    )
    assert line.rounding == Fraction("3.33") - Fraction("3.333333333333")
    assert (line.period, line.plan, line.plan_version) == (create_range(21, 30), "standard", 1)


def test_it_rounds_the_base_fee_of_days_cumulatively() -> None:
    spans = [create_span(create_prices(base_fee="0.10"))]
    days = [state(spans, {}, create_range(day, day)).total for day in range(1, 31)]
    assert sum(days) == 10
    assert set(days) == {0, 1}


def test_it_has_one_base_fee_line_while_the_fee_is_the_same() -> None:
    spans = [
        create_span(create_prices(base_fee="30", version=1), 1, 9),
        create_span(create_prices(base_fee="30", version=2), 10, 19),
        create_span(create_prices(base_fee="60", version=3), 20, 30),
    ]
    lines = of_kind(state(spans, {}), "base_fee")
    assert [(line.period, line.plan_version, line.amount) for line in lines] == [
        (create_range(1, 19), 2, 1900),
        (create_range(20, 30), 3, 2200),
    ]


def test_it_tops_up_to_the_commitment() -> None:
    spans = [create_span(create_prices(GRADUATED, base_fee="10", minimum_commitment="50"))]
    statement = state(spans, create_usage({3: 15}))
    line = only(statement, "commitment")
    assert (line.amount, line.counted, line.monthly_price) == (2500, 2500, Fraction(50))
    assert (line.id, line.period) == ("2026-11/commitment/2026-11-01", create_range())
    assert statement.total == 5000
    assert [entry.kind for entry in statement.lines] == ["usage", "base_fee", "commitment"]


def test_it_has_no_commitment_line_when_enough_is_used_or_before_its_last_day() -> None:
    spans = [create_span(create_prices(GRADUATED, minimum_commitment="50"))]
    assert of_kind(state(spans, create_usage({3: 50})), "commitment") == []
    assert of_kind(state(spans, {}, create_range(1, 29)), "commitment") == []
    late = only(state(spans, create_usage({3: 10}), create_range(30, 30)), "commitment")
    assert (late.amount, late.period) == (4000, create_range())


def test_it_prorates_a_commitment_and_counts_only_its_days() -> None:
    spans = [
        create_span(create_prices(GRADUATED, minimum_commitment="30"), 1, 10),
        create_span(create_prices(GRADUATED, minimum_commitment="60"), 11, 30),
    ]
    usage = create_usage({1: 4, 10: 1, 11: 11, 12: 1})
    first, second = of_kind(state(spans, usage), "commitment")
    assert (first.counted, first.amount, first.period) == (500, 500, create_range(1, 10))
    assert (second.counted, second.amount, second.period) == (1200, 2800, create_range(11, 30))


def test_it_rounds_a_commitment_once() -> None:
    spans = [create_span(create_prices(minimum_commitment="10"), 21, 30)]
    line = only(state(spans, {}), "commitment")
    assert (line.exact_amount, line.amount) == (Fraction(10, 3), 333)
    tiny = [create_span(create_prices(minimum_commitment="0.004"))]
    assert state(tiny, {}).lines == ()


def test_it_never_drops_usage_without_a_price() -> None:
    usage = create_usage({1: 7, 15: 5, 30: 7}) | create_usage({2: 3}, "gpu_time")
    statement = state([create_span(create_prices(GRADUATED), 10, 20)], usage)
    priced, calls, unknown = statement.lines
    assert (priced.quantity, priced.amount) == (5, 500)
    assert (calls.id, calls.kind, calls.quantity, calls.amount) == (
        "2026-11/unpriced/api_calls",
        "unpriced",
        14,
        0,
    )
    assert (unknown.meter, unknown.kind, unknown.quantity) == ("gpu_time", "unpriced", 3)
    assert [line.quantity for line in state([], usage, create_range(1, 1)).lines] == [7]


def test_it_has_no_currency_without_a_price_list() -> None:
    statement = state([], create_usage({1: 7}))
    assert (statement.currency, statement.total) == (None, 0)
    assert [line.kind for line in statement.lines] == ["unpriced"]


def test_it_orders_lines_by_month_kind_and_meter() -> None:
    charges = [create_charge(meter=meter) for meter in ("gpu_time", *reversed(METERS))]
    span = create_span(create_prices(*charges, base_fee="1", minimum_commitment="5"))
    both = type(span)(DateRange(date(2026, 11, 1), date(2026, 12, 31)), span.prices)
    statement = state([both], create_usage({1: 1}, "disk"), both.days)
    kinds = [line.meter or line.kind for line in statement.lines]
    month = [*METERS, "gpu_time", "base_fee", "commitment"]
    assert kinds == [*month, "disk", *month]


def test_it_refuses_two_currencies_in_one_range() -> None:
    spans = [
        create_span(create_prices(GRADUATED, currency="USD"), 1, 15),
        create_span(create_prices(GRADUATED, currency="EUR"), 16, 30),
    ]
    with pytest.raises(
        MixedCurrencies, match="USD to EUR on 2026-11-16: ask for two ranges"
    ) as caught:
        state(spans, {})
    assert caught.value.code == "mixed_currencies"
    usage = create_usage({1: 150, 20: 150})
    halves = [state(spans, usage, create_range(*ends)) for ends in ((1, 15), (16, 30))]
    assert [(half.currency, half.total) for half in halves] == [("USD", 12500), ("EUR", 12500)]


@pytest.mark.parametrize(("first", "second"), [((1, 15), (15, 30)), ((16, 30), (1, 15))])
def test_it_refuses_spans_that_overlap_or_descend(
    first: tuple[int, int], second: tuple[int, int]
) -> None:
    prices = create_prices(GRADUATED)
    with pytest.raises(ValueError, match="overlap or descend"):
        state([create_span(prices, *first), create_span(prices, *second)], {})


@pytest.mark.parametrize(("currency", "amount"), [("JPY", 1), ("USD", 53), ("KWD", 530)])
def test_it_rounds_a_line_to_the_currency(currency: str, amount: int) -> None:
    span = create_span(create_prices(create_charge("0.53"), currency=currency))
    line = only(state([span], create_usage({3: 1})))
    assert line.amount == amount
    assert line.exact_amount + line.rounding == {"JPY": 1}.get(currency, Fraction("0.53"))


def test_it_draws_daily_costs_by_the_same_rule() -> None:
    prices = create_prices(VOLUME, create_charge("1", meter="cpu_time", minimum="30"))
    usage = create_usage({1: 100, 2: 20, 3: 4}) | create_usage({9: 1}, "disk")
    costs = daily_costs(
        period=create_range(2, 30), spans=[create_span(prices)], usage=usage, meters=METERS
    )
    assert list(costs) == [*METERS, "disk"]
    assert costs["api_calls"][november(2)] == -7000
    assert costs["api_calls"][november(3)] == 100
    assert sum(costs["api_calls"].values()) == -6900
    assert {day: cost for day, cost in costs["cpu_time"].items() if cost} == {november(30): 3000}
    assert set(costs["disk"].values()) == {0}
    assert list(costs["disk"]) == list(create_range(2, 30))


def test_it_quotes_every_charge_as_a_whole_period() -> None:
    charges = [
        parse_charge(create_charge("1", meter="cpu_time", included=5, minimum="3")),
        parse_charge(GRADUATED),
    ]
    quote = price_usage(currency="USD", charges=charges, usage={"api_calls": 120, "disk": 3})
    assert [(line.id, line.kind, line.quantity, line.amount) for line in quote.lines] == [
        ("usage/cpu_time", "usage", 0, 300),
        ("usage/api_calls", "usage", 120, 11000),
        ("unpriced/disk", "unpriced", 3, 0),
    ]
    assert (quote.subtotal, quote.total, quote.currency) == (11300, 11300, "USD")
    assert {(line.plan, line.period) for line in quote.lines} == {(None, None)}


def test_it_refuses_a_quote_with_two_charges_of_one_meter() -> None:
    charge = parse_charge(GRADUATED)
    with pytest.raises(InvalidCharge):
        price_usage(currency="USD", charges=[charge, charge], usage={})
