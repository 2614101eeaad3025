from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date
from fractions import Fraction
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from billtrack.billing.pricing.charges import charge_to_json, parse_charge
from billtrack.billing.pricing.lines import Line
from billtrack.billing.pricing.parts import prorated
from billtrack.billing.pricing.rating import rate
from billtrack.billing.pricing.statement import Statement, daily_costs, price_statement
from billtrack.core.money import major_units, printed_exact
from billtrack.core.periods import DateRange, Month
from tests.billing.pricing import oracle
from tests.billing.pricing.strategies import METERS, World, charges, create_days, cuts, worlds
from tests.effort import times

ranges = st.tuples(st.integers(0, 58), st.integers(0, 58)).map(sorted)
Pieces = list[tuple[int, int]]


def state(world: World, days: DateRange) -> Statement:
    return price_statement(period=days, spans=world.spans, usage=world.usage, meters=METERS)


def facts(line: Line) -> oracle.OracleLine:
    assert line.period is not None
    return oracle.OracleLine(
        id=line.id,
        kind=line.kind,
        meter=line.meter,
        plan=line.plan,
        version=line.plan_version,
        first=line.period.first,
        last=line.period.last,
        quantity=line.quantity,
        exact=line.exact_amount,
        amount=line.amount,
    )


def totals_by_line(
    lines: Iterable[Line], value: Callable[[Line], int | Fraction]
) -> dict[str, int | Fraction]:
    """Sum a value by line id, without the lines whose sum is 0."""
    totals: dict[str, int | Fraction] = defaultdict(int)
    for line in lines:
        totals[line.id] += value(line)
    return {name: total for name, total in totals.items() if total}


@given(charges(), st.integers(0, 120), st.integers(1, 28), st.sampled_from(["USD", "JPY", "KWD"]))
def test_it_rates_as_the_oracle_does(
    raw: dict[str, Any], quantity: int, days: int, currency: str
) -> None:
    february = Month(2027, 2)
    part = DateRange(february.first, date(2027, 2, days))
    terms = prorated(parse_charge(raw), part, february)
    rated = rate(charge=terms, quantity=quantity, currency=currency)
    exact = oracle.cost(raw, quantity, days=days, of=28)
    assert rated.exact_amount == exact
    assert rated.amount == oracle.rounded(exact, currency)
    assert rated.model_amount == oracle.model_amount(raw, quantity, rated.included)


@settings(max_examples=times(250))
@given(worlds(), ranges)
def test_it_states_any_range_as_the_oracle_does(world: World, ends: list[int]) -> None:
    days = create_days(*ends)
    statement = state(world, days)
    expected = oracle.lines_of(
        period=list(days), prices=world.by_day, usage=world.usage, meters=METERS
    )
    assert [facts(line) for line in statement.lines] == expected
    assert statement.total == sum(line.amount for line in expected)


@settings(max_examples=times(250))
@given(worlds(), cuts(58, 6))
def test_it_adds_tiles_up_to_the_whole(world: World, pieces: Pieces) -> None:
    whole = state(world, create_days(0, 58))
    tiles = [state(world, create_days(*piece)) for piece in pieces]
    lines = [line for tile in tiles for line in tile.lines]
    assert sum(tile.total for tile in tiles) == whole.total
    values: list[Callable[[Line], int | Fraction]] = [
        lambda line: line.amount,
        lambda line: line.quantity,
        lambda line: line.billable_quantity,
        lambda line: line.exact_amount,
        lambda line: line.model_amount,
    ]
    for value in values:
        assert totals_by_line(lines, value) == totals_by_line(whole.lines, value)


@settings(max_examples=times(60))
@given(worlds())
def test_it_adds_single_days_up_to_the_whole(world: World) -> None:
    days = [state(world, create_days(shift, shift)).total for shift in range(59)]
    assert sum(days) == state(world, create_days(0, 58)).total


@settings(max_examples=times(150))
@given(worlds(), ranges)
def test_it_explains_every_line(world: World, ends: list[int]) -> None:
    statement = state(world, create_days(*ends))
    for line in statement.lines:
        currency = statement.currency or "USD"
        printed = printed_exact(line.exact_amount) + line.rounding
        assert printed == major_units(line.amount, currency)
        if line.kind == "usage":
            assert sum(tier.amount for tier in line.tiers) == line.model_amount
            assert sum(tier.quantity for tier in line.tiers) == line.billable_quantity
            assert line.billable_quantity == max(0, line.quantity - line.included)
        for tier in line.tiers:
            if line.charge and line.charge.model != "package":
                slice_amount = tier.unit_price * tier.quantity / tier.per
                assert tier.amount == slice_amount + tier.flat_fee


@settings(max_examples=times(150))
@given(worlds(), ranges)
def test_it_draws_days_that_sum_to_the_usage_lines(world: World, ends: list[int]) -> None:
    days = create_days(*ends)
    costs = daily_costs(period=days, spans=world.spans, usage=world.usage, meters=METERS)
    statement = state(world, days)
    for meter in METERS:
        lines = [line for line in statement.lines if line.meter == meter]
        assert sum(costs[meter].values()) == sum(line.amount for line in lines)
        assert list(costs[meter]) == list(days)


@settings(max_examples=times(60))
@given(worlds(), st.integers(0, 58))
def test_it_draws_each_day_as_a_statement_of_that_day(world: World, shift: int) -> None:
    whole = create_days(0, 58)
    costs = daily_costs(period=whole, spans=world.spans, usage=world.usage, meters=METERS)
    day = create_days(shift, shift)
    for meter in METERS:
        lines = [line for line in state(world, day).lines if line.meter == meter]
        assert costs[meter][day.first] == sum(line.amount for line in lines)


@settings(max_examples=times(60))
@given(worlds(), ranges, st.randoms(use_true_random=False))
def test_it_does_not_care_how_records_were_batched(
    world: World, ends: list[int], chance: random.Random
) -> None:
    records = [
        (meter, day)
        for meter, by_day in world.usage.items()
        for day, used in by_day.items()
        for _ in range(used)
    ]
    chance.shuffle(records)
    usage: dict[str, dict[date, int]] = {}
    for meter, day in records:
        daily = usage.setdefault(meter, {})
        daily[day] = daily.get(day, 0) + 1
    days = create_days(*ends)
    assert state(World(world.spans, world.by_day, usage), days) == state(world, days)


@settings(max_examples=times(60))
@given(worlds(), cuts(58, 5))
def test_it_does_not_care_how_spans_are_cut(world: World, pieces: Pieces) -> None:
    cut = [
        type(span)(days, span.prices)
        for span in world.spans
        for piece in pieces
        if (days := span.days.intersect(create_days(*piece))) is not None
    ]
    days = create_days(0, 58)
    assert state(World(tuple(cut), world.by_day, world.usage), days) == state(world, days)


@given(charges(), st.integers(0, 10**18), st.integers(0, 10**6))
def test_it_never_gets_cheaper_with_more_unless_by_volume(
    raw: dict[str, Any], quantity: int, more: int
) -> None:
    charge = parse_charge(raw)
    less = rate(charge=charge, quantity=quantity, currency="USD")
    bigger = rate(charge=charge, quantity=quantity + more, currency="USD")
    if charge.model != "volume":
        assert less.exact_amount <= bigger.exact_amount
        assert less.amount <= bigger.amount


@given(charges())
def test_it_reads_back_the_charge_it_writes(raw: dict[str, Any]) -> None:
    charge = parse_charge(raw)
    written = charge_to_json(charge)
    assert parse_charge(json.loads(json.dumps(written))) == charge
    assert charge_to_json(parse_charge(written)) == written
