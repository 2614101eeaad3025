"""The page of one customer: usage by day, the statement with its tiers, reports."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from apiflask import APIFlask

from billtrack.core.periods import Month
from billtrack.platform.extensions import current_calendar
from tests.cast import Cast, create_record
from tests.dashboard.page import Page, Visitor, text_of

pytestmark = pytest.mark.one_database


def this_month() -> Month:
    return Month.of(current_calendar().today(datetime.now(UTC)))


def this_month_so_far() -> dict[str, str]:
    return {
        "from": str(this_month().first),
        "to": str(current_calendar().today(datetime.now(UTC))),
    }


def statement(page: Page) -> list[list[str]]:
    """Return the rows of the statement but for events that were not used."""
    rows = page.table("Statement for")
    return [row for row in rows if row[1] not in {"0", "0.0 h", "0.0 CPU-h", "0 GB·h"}]


@pytest.mark.both_databases
def test_it_shows_what_500000_calls_cost_and_why(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=500000)
    page = Visitor(app, cast.manager).open(f"/customers/{cast.customer.id}")
    assert page.heading == "Customer"
    assert statement(page) == [
        ["API calls", "500,000", "205.00"],
        ["first 10,000 · free", "10,000", "0.00"],
        ["10,000 to 100,000 · $0.50 per 1,000", "90,000", "45.00"],
        ["100,000 to 1,000,000 · $0.40 per 1,000", "400,000", "160.00"],
        ["Total so far", "$205.00"],
    ]
    sums = [text_of(row) for row in page.find("details", id="why").iter("div")]
    assert sums == [
        "10,000 free 0.00",
        "90,000 × $0.50 per 1,000 45.00",
        "400,000 × $0.40 per 1,000 160.00",
        "rounded to USD 205.00",
    ]
    assert page.table("Usage cost by day, USD")[-1][-1] == "$205.00"


@pytest.mark.both_databases
def test_it_shows_every_event_in_its_unit(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=3600 * 1000, event="vm_uptime")
    create_record(cast, quantity=360, event="cpu_time")
    create_record(cast, quantity=73000, event="data_storage")
    page = Visitor(app, cast.customer).open(f"/customers/{cast.customer.id}")
    assert [row for row in statement(page) if "·" not in row[0]] == [
        ["VM uptime", "1,000.0 h", "10.95"],
        ["CPU time", "0.1 CPU-h", "0.00"],
        ["Data storage", "73,000 GB·h", "2.30"],
        ["Total so far", "$13.25"],
    ]


def test_it_names_prices_in_words(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=3600 * 500, event="vm_uptime")
    create_record(cast, quantity=3600 * 500, event="cpu_time")
    create_record(cast, quantity=100, event="data_storage")
    page = Visitor(app, cast.manager).open(f"/customers/{cast.customer.id}")
    tiers = [row[0] for row in statement(page) if "·" in row[0] and row[0] != "Data storage"]
    assert tiers == [
        "first 730 h · $0.0116 per hour",
        "first 100 CPU-h · $0.048 per CPU-hour",
        "above 100 CPU-h · $0.04 per CPU-hour",
        "first 36,500 GB·h · $0.025 per 730 GB·h",
    ]


@pytest.mark.both_databases
def test_it_shows_the_month_that_is_chosen(app: APIFlask, cast: Cast) -> None:
    before = this_month().previous
    create_record(cast, quantity=500000)
    create_record(cast, quantity=7000, occurred_at=current_calendar().starts_at(before.first))
    visitor = Visitor(app, cast.manager)
    path = f"/customers/{cast.customer.id}"
    page = visitor.open(f"{path}?month={before}")
    assert page.values(path) == {"from": str(before.first), "to": str(before.last)}
    assert page.table("Statement for")[0][:2] == ["API calls no price", "7,000"]
    assert page.table("Statement for")[-1] == ["Total", "$0.00"]
    assert page.alerts[0].startswith("Some of this usage has no price")
    assert f"/reports?customer={cast.customer.id}&month={before}#generate" in page.links
    now = visitor.open(path)
    assert now.values(path) == this_month_so_far()
    assert now.alerts == []


def test_it_bears_any_month(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=500000)
    visitor, path = Visitor(app, cast.manager), f"/customers/{cast.customer.id}"
    for text in ("", "x", "2026-13", "2026-1", "0000-00", "2026-10-01", "%00", "９９９９-01"):
        page = visitor.open(f"{path}?month={text}")
        assert page.values(path) == this_month_so_far(), text
        assert "$205.00" in page.text
    for text in ("1970-01", "2019-02", "2999-12", "9998-12"):
        page = visitor.open(f"{path}?month={text}")
        dates = Month.parse(text).dates
        assert page.values(path) == {"from": str(dates.first), "to": str(dates.last)}
        assert "Nothing used in this month" in page.text


def test_it_shows_its_own_page_to_a_customer_and_no_other(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=500000)
    visitor = Visitor(app, cast.customer)
    page = visitor.open(f"/customers/{cast.customer.id}")
    assert "Record usage" not in page.text
    assert not any(link.startswith("/customers?") or link == "/customers" for link in page.links)
    for other in (cast.stranger, cast.admin, cast.provider):
        refused = visitor.request("GET", f"/customers/{other.id}")
        assert refused.status == 404
        assert other.user.email not in refused.source
    refused = Visitor(app, cast.stranger).request("GET", f"/customers/{cast.customer.id}")
    assert refused.status == 404
    assert "205" not in refused.source


def test_it_takes_only_plain_numbers_for_an_id(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.admin)
    for text in ("0", "-1", "01", "1.0", "x", "1" * 19, "%00", "5%20", "None", "١"):
        assert visitor.request("GET", f"/customers/{text}").status == 404, text


def test_it_offers_what_to_do_next(app: APIFlask, cast: Cast) -> None:
    page = Visitor(app, cast.manager).open(f"/customers/{cast.customer.id}")
    assert "Nothing used in this month" in page.text
    assert f"/usage?user_id={cast.customer.id}#record" in page.links
    visitor = Visitor(app, cast.manager)
    form = visitor.open(f"/usage?user_id={cast.customer.id}").values("/usage/records")
    assert form["user_id"] == str(cast.customer.id)
    asked = visitor.open(f"/reports?customer={cast.customer.id}&month={this_month().previous}")
    assert asked.values("/reports")["customer"] == str(cast.customer.id)
    assert asked.values("/reports")["month"] == str(this_month().previous)


def test_it_asks_for_the_report_of_a_month_that_is_not_on_offer_by_its_days(
    app: APIFlask, cast: Cast
) -> None:
    values = Visitor(app, cast.manager).open("/reports?month=2020-02").values("/reports")
    asked = values["month"], values["from"], values["to"]
    assert asked == ("", "2020-02-01", "2020-02-29")


def test_it_says_when_an_account_is_deactivated(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=500000)
    cast.admin.post(f"/api/v1/users/{cast.customer.id}/deactivate")
    page = Visitor(app, cast.manager).open(f"/customers/{cast.customer.id}")
    assert "deactivated" in page.text
    assert "$205.00" in page.text


def test_it_escapes_a_name(app: APIFlask, cast: Cast) -> None:
    name = "<b onclick=alert(1)>&\"'</b>"
    cast.admin.patch(f"/api/v1/users/{cast.customer.id}", {"name": name})
    create_record(cast, occurred_at=datetime.now(UTC) - timedelta(minutes=1))
    visitor = Visitor(app, cast.manager)
    assert visitor.open(f"/customers/{cast.customer.id}").heading == name
    for path in ("/", "/customers", "/usage", "/reports"):
        assert name in visitor.open(path).source.replace("&lt;", "<").replace("&gt;", ">").replace(
            "&#34;", '"'
        ).replace("&#39;", "'").replace("&amp;", "&")
