"""The range and the chart of a customer's page: presets, days of one's own, events, months."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from apiflask import APIFlask
from sqlalchemy import event, update

from billtrack.billing.plans.models import Subscription
from billtrack.core.periods import Month
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from tests.cast import Cast, create_record
from tests.dashboard.page import Page, Visitor, text_of

pytestmark = pytest.mark.one_database


def today() -> date:
    return current_calendar().today(datetime.now(UTC))


def create_year(cast: Cast) -> None:
    """Record the same in each of the last 12 months, all of them priced."""
    with transaction() as session:
        session.execute(update(Subscription).values(starts_on=date(2020, 1, 1)))
    month = Month.of(today())
    for _ in range(12):
        at = current_calendar().starts_at(month.first)
        create_record(cast, quantity=500000, occurred_at=at)
        month = month.previous


def current(page: Page) -> list[str]:
    return [text_of(e) for e in page.root.iter() if e.get("aria-current") == "true"]


def test_it_offers_ranges_and_keeps_them_in_the_address(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=500000)
    visitor, path = Visitor(app, cast.manager), f"/customers/{cast.customer.id}"
    page = visitor.open(path)
    assert current(page) == ["This month", "Cost"]
    for label in ("Last month", "12 months"):
        (link,) = (a.attrib["href"] for a in page.all("a") if text_of(a) == label)
        assert current(visitor.open(link)) == [label, "Cost"]
    page = visitor.open(f"{path}?from={today()}&to={today()}&show=api_calls")
    assert current(page) == (
        ["This month", "API calls"] if today().day == 1 else ["Custom", "API calls"]
    )
    assert page.values(path) == {"from": str(today()), "to": str(today()), "show": "api_calls"}
    (cost,) = (a.attrib["href"] for a in page.all("a") if text_of(a) == "Cost")
    assert cost == f"{path}?from={today()}&to={today()}"


def test_it_shows_how_much_of_an_event_was_used(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=7200, event="vm_uptime")
    create_record(cast, quantity=500000)
    page = Visitor(app, cast.customer).open(f"/customers/{cast.customer.id}?show=vm_uptime")
    assert page.table("VM uptime by day, h")[-1][1:] == ["2.0 h"]
    page = Visitor(app, cast.customer).open(f"/customers/{cast.customer.id}?show=cpu_time")
    assert "Nothing to draw" in page.text


@pytest.mark.both_databases
def test_it_shows_a_long_range_by_month(app: APIFlask, cast: Cast) -> None:
    create_year(cast)
    visitor, path = Visitor(app, cast.manager), f"/customers/{cast.customer.id}"
    (link,) = (a.attrib["href"] for a in visitor.open(path).all("a") if text_of(a) == "12 months")
    page = visitor.open(link)
    rows = page.table("Usage cost by month, USD")
    assert [row[1] for row in rows] == ["$205.00"] * 12
    amounts = page.table("Amounts by month, USD")
    assert [row[1] for row in amounts] == ["205.00"] * 12 + ["$2,460.00"]
    assert page.table("Statement for")[-1][-1] == "$2,460.00"
    by_event = visitor.open(f"{link}&show=api_calls")
    assert [row[1] for row in by_event.table("API calls by month")] == ["500,000"] * 12
    totals = page.table("Total of each month")
    assert [row[1] for row in totals] == ["$205.00"] * 12 + ["$0.00"]


def test_a_quarter_is_shown_by_day(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=500000)
    path = f"/customers/{cast.customer.id}"
    visitor = Visitor(app, cast.manager)
    for days, bars in ((92, "by day"), (93, "by month")):
        first = today() - timedelta(days=days - 1)
        page = visitor.open(f"{path}?from={first}&to={today()}")
        assert f"Usage cost {bars}, USD" in page.text, days


@pytest.mark.both_databases
def test_the_days_of_a_range_add_up_to_its_statement(app: APIFlask, cast: Cast) -> None:
    create_year(cast)
    first = Month.of(today()).previous.first + timedelta(days=14)
    page = Visitor(app, cast.manager).open(
        f"/customers/{cast.customer.id}?from={first}&to={today()}"
    )
    days = [row[1] for row in page.table("Usage cost by day") if row[1] != "$0.00"]
    assert days == ["$205.00"]
    assert page.table("Statement for")[-1][-1] == "$205.00"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("from=x&to=y", "Choose both days"),
        ("from=2026-11-01", "Choose both days"),
        ("to=2026-11-01", "Choose both days"),
        ("from=2026-02-30&to=2026-03-01", "Choose both days"),
        ("from=%00&to=%00", "Choose both days"),
        ("from=2026-11-02&to=2026-11-01", "The range ends before it begins."),
        ("from=0001-01-01&to=2026-11-01", "Choose days of the years 2000 to 2999."),
        ("from=2026-11-01&to=9999-12-31", "Choose days of the years 2000 to 2999."),
        ("from=2000-01-01&to=2026-11-01", "Choose at most 3,660 days."),
    ],
)
def test_it_says_what_is_wrong_with_a_range(
    app: APIFlask, cast: Cast, query: str, said: str
) -> None:
    create_record(cast, quantity=500000)
    page = Visitor(app, cast.manager).open(f"/customers/{cast.customer.id}?{query}")
    assert page.alerts[0].startswith(said)
    assert "This month is shown." in page.alerts[0]
    assert "$205.00" in page.text


def test_it_bears_any_event_to_show(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=500000)
    visitor = Visitor(app, cast.manager)
    for text in ("", "x", "%00", "Cost", "x" * 3000, "<b>"):
        page = visitor.open(f"/customers/{cast.customer.id}?show={text}")
        assert current(page)[-1] == "Cost", text


def test_it_draws_the_price_of_tiers_where_the_line_is_on_the_curve(
    app: APIFlask, cast: Cast
) -> None:
    create_year(cast)
    visitor, path = Visitor(app, cast.manager), f"/customers/{cast.customer.id}"
    before = Month.of(today()).previous
    page = visitor.open(f"{path}?month={before}")
    assert ["500,000, now", "$205.00"] in page.table("API calls: amount by quantity, USD")
    create_record(
        cast,
        quantity=100000,
        occurred_at=current_calendar().starts_at(before.first + timedelta(days=9)),
    )
    page = visitor.open(f"{path}?from={before.first + timedelta(days=5)}&to={before.last}")
    assert page.table("Statement for")[-1][-1] == "$40.00"
    assert page.all("details", id="curves") == []


@pytest.mark.both_databases
def test_a_long_range_takes_no_more_queries(app: APIFlask, cast: Cast) -> None:
    create_year(cast)
    visitor, path = Visitor(app, cast.manager), f"/customers/{cast.customer.id}"
    counted: list[int] = []
    for query in ("", f"?from={today() - timedelta(days=360)}&to={today()}"):
        asked: list[str] = []

        def note(*args: object, asked: list[str] = asked) -> None:
            asked.append(str(args[2]))

        event.listen(db.engine, "before_cursor_execute", note)
        visitor._fetch("GET", path + query)
        event.remove(db.engine, "before_cursor_execute", note)
        counted.append(len(asked))
    assert counted[1] <= counted[0] <= 30
