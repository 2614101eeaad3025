"""What customers came to in each of the last months."""

from __future__ import annotations

from datetime import date

from apiflask import APIFlask

from billtrack.billing.month_totals.months import list_month_totals
from billtrack.billing.statements.queries import list_statements
from billtrack.core.periods import DateRange, Month
from tests.billing.month_totals.world import DAYS, TODAY, create_world, terms


def test_months_are_their_statements(app: APIFlask) -> None:
    world = create_world()
    ids = [world.steady, world.fees, world.moved]
    totals = list_month_totals(ids, TODAY)
    for user_id in ids:
        assert [total.month for total in totals[user_id]][::12] == [Month(2025, 3), Month(2026, 3)]
        for total in totals[user_id]:
            days = total.month.dates if total.month < Month.of(TODAY) else DAYS
            found = list_statements([user_id], days, terms=terms())[user_id].statement
            assert (total.minor, total.currency) == (found.total, found.currency)


def test_a_move_to_another_currency_shows_month_by_month(app: APIFlask) -> None:
    world = create_world()
    totals = list_month_totals([world.moved], TODAY)[world.moved]
    assert [total.currency for total in totals[-2:]] == ["USD", "EUR"]
    assert all(total.minor > 0 for total in totals[-2:])


def test_months_before_any_plan_cost_nothing(app: APIFlask) -> None:
    world = create_world()
    totals = list_month_totals([world.machine], date(2026, 3, 18))[world.machine]
    assert {(total.currency, total.minor) for total in totals} == {(None, 0)}
    assert list_month_totals([], TODAY) == {}
    assert DateRange(totals[0].month.first, TODAY).contains(DAYS.first)
