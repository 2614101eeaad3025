"""The month at a glance, and what a provider sees instead."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pytest
from apiflask import APIFlask

from billtrack.accounts.users.models import User
from billtrack.billing.month_totals.operations import refresh_past
from billtrack.billing.plans.models import Subscription
from billtrack.billing.plans.operations import (
    create_plan,
    create_version,
    publish_version,
    subscribe,
)
from billtrack.billing.pricing.charges import Charge
from billtrack.billing.statements.queries import Terms, list_statements
from billtrack.core.periods import DateRange, Month
from billtrack.dashboard.overview import views
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.platform.installation.operations import mark_demo_loaded
from tests.cast import SYSTEM, Cast, Member, create_record, create_user
from tests.dashboard.conftest import RunJobs
from tests.dashboard.page import Visitor, text_of


def today() -> date:
    return current_calendar().today(datetime.now(UTC))


def at(day: date) -> datetime:
    return current_calendar().starts_at(day)


def subscribe_before(member: Member, month: Month) -> None:
    with transaction():
        subscribe(
            member.id,
            actor=SYSTEM,
            now=datetime.now(UTC),
            plan_code="standard",
            starts_on=month.first,
            ends_on=month.last,
        )


def test_it_shows_the_figures_of_the_month(app: APIFlask, cast: Cast) -> None:
    now = Month.of(today())
    before = now.previous
    subscribe_before(cast.customer, before)
    create_record(cast, quantity=500000)
    create_record(cast, quantity=110000, user=cast.other_customer, occurred_at=at(now.first))
    create_record(cast, quantity=250000, occurred_at=at(before.first))
    if today().day < before.days:  # not among the days compared with
        late = before.first + timedelta(days=today().day)
        create_record(cast, quantity=10**6, occurred_at=at(late))
    page = Visitor(app, cast.manager).open("/")
    # 205.00 + 45.00 + 4.00 of two customers, against 45.00 + 60.00.
    assert page.figure("Revenue so far").startswith("$254.00 ↑ 141.9 % against ")
    assert page.figure("Customers with usage") == "2 of 3 1 without usage"
    records = 3 if today() == now.first else 1
    records -= today() == now.first  # the one of last month
    assert page.figure("Records today").startswith(str(records))
    assert page.figure("Usage without a price") == "0 everything is priced"


def test_it_compares_with_the_same_days_of_the_month_before(app: APIFlask, cast: Cast) -> None:
    before = Month.of(today()).previous
    page = Visitor(app, cast.admin).open("/")
    last = before.first + timedelta(days=min(today().day, before.days) - 1)
    note = page.figure("Revenue so far")
    assert note.endswith(f"{last.year}")
    if today().day not in {1, before.days}:
        assert f"nothing in 1–{last.day} {last:%b %Y}" in note


def test_it_names_usage_that_has_no_price(app: APIFlask, cast: Cast) -> None:
    machine = create_user(email="unpriced@test.example")
    with transaction() as session:
        session.query(Subscription).filter_by(user_id=machine.id).delete()
    create_record(cast, quantity=5, user=Member(machine, ""))
    create_record(cast, quantity=5, user=Member(machine, ""), event="cpu_time")
    create_record(cast, quantity=500000)
    page = Visitor(app, cast.manager).open("/")
    assert page.figure("Usage without a price") == "2 lines of 1 customer without a charge"
    assert page.figure("Revenue so far").startswith("$205.00")


def test_it_ranks_customers_and_shows_the_newest_usage(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=500000)
    create_record(cast, quantity=3600 * 1000, event="vm_uptime", user=cast.other_customer)
    page = Visitor(app, cast.manager).open("/")
    ranked = [text_of(row) for row in page.card("Top customers").iter("li")]
    assert [row.split(" forecast ")[0] for row in ranked] == ["Customer", "Other customer"]
    assert [row.split()[-1] for row in ranked] == ["$205.00", "$10.95"]
    rows = page.table("Newest usage records")
    assert [row[1:] for row in rows] == [
        ["Other customer", "VM uptime", "1,000.0 h", "Provider"],
        ["Customer", "API calls", "500,000", "Provider"],
    ]
    chart = page.table("Usage cost by day, USD")
    shown = chart[today().day - 1]
    assert shown[:3] + shown[-1:] == [f"{today():%-d %b %Y}", "$205.00", "$10.95", "$215.95"]
    assert len(chart) == Month.of(today()).days


def test_it_keeps_currencies_apart(app: APIFlask, cast: Cast) -> None:
    now, month = datetime.now(UTC), Month.of(today())
    japan = create_user(email="japan@test.example")
    with transaction() as session:
        session.query(Subscription).filter_by(user_id=japan.id).delete()
        create_plan(actor=SYSTEM, now=now, code="yen", name="Yen", currency="JPY")
        charge = Charge("api_calls", "per_unit", unit_price=Fraction(3))
        create_version("yen", actor=SYSTEM, now=now, charges=[charge])
        publish_version("yen", 1, actor=SYSTEM, now=now, effective_from=month.first)
        subscribe(japan.id, actor=SYSTEM, now=now, plan_code="yen", starts_on=month.first)
    create_record(cast, quantity=500000)
    create_record(cast, quantity=7, user=Member(japan, ""))
    page = Visitor(app, cast.manager).open("/")
    figure = page.figure("Revenue so far")
    assert "¥21 nothing in" in figure
    assert "$205.00 nothing in" in figure
    for currency, cost in (("JPY", "¥21"), ("USD", "$205.00")):
        assert page.table(f"Usage cost by day, {currency}")[today().day - 1][1] == cost


def test_it_says_what_to_do_when_there_is_nothing(app: APIFlask, cast: Cast) -> None:
    page = Visitor(app, cast.admin).open("/")
    assert "Nothing recorded yet" in page.text
    assert "No customer has cost yet" in page.text
    assert "Nothing running" in page.text
    assert "/usage#record" in page.links
    assert page.figure("Customers with usage") == "0 of 3 3 without usage"


def test_it_counts_customers_with_usage_among_all_customers(app: APIFlask, cast: Cast) -> None:
    gone = create_user(email="gone@test.example")
    create_record(cast, quantity=5, user=Member(gone, ""))
    create_record(cast, quantity=5, user=cast.provider)
    for member in (cast.customer, cast.other_customer, cast.stranger):
        create_record(cast, quantity=5, user=member)
    cast.admin.post(f"/api/v1/users/{gone.id}/deactivate")
    page = Visitor(app, cast.manager).open("/")
    used, _, total = page.figure("Customers with usage").split()[:3]
    assert int(used) <= int(total)


def test_a_provider_sees_what_it_recorded(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=5)
    create_record(cast, quantity=3600, event="vm_uptime", user=cast.other_customer)
    create_record(cast, quantity=11, recorded_by=cast.other_provider)
    page = Visitor(app, cast.provider).open("/")
    assert page.heading == "Ingestion"
    assert page.figure("Records today") == "2"
    assert page.figure(f"Records in {today():%B %Y}") == "2"
    assert page.figure("Customers served") == "2"
    rows = [row[1:] for row in page.table("Newest records of yours")]
    assert rows == [
        ["Other customer", "VM uptime", "1.0 h", "Provider"],
        ["Customer", "API calls", "5", "Provider"],
    ]
    assert [text_of(row) for row in page.card("By event").iter("li")] == [
        "API calls 1 record 5",
        "VM uptime 1 record 1.0 h",
    ]
    assert all(not link.startswith("/customers") for link in page.links)


def test_a_new_provider_reads_how_to_begin(app: APIFlask, cast: Cast) -> None:
    page = Visitor(app, cast.provider).open("/")
    assert "You have recorded nothing yet" in page.text
    assert "Nothing this month" in page.text


def test_a_customer_is_taken_to_its_own_page(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.customer)
    answer = visitor.request("GET", "/")
    assert answer.location == f"/customers/{cast.customer.id}"
    assert visitor.follow(answer).heading == "Customer"


def minor(text: str) -> int:
    return int(re.sub(r"[^0-9]", "", text))


def test_it_adds_up_the_statements(app: APIFlask, cast: Cast) -> None:
    month = Month.of(today())
    create_record(cast, quantity=543_217)
    create_record(cast, quantity=110_001, user=cast.other_customer, occurred_at=at(month.first))
    create_record(cast, quantity=7_777, event="cpu_time", user=cast.stranger)
    page = Visitor(app, cast.manager).open("/")
    terms = Terms(current_calendar(), "USD", datetime.now(UTC))
    ids = [cast.customer.id, cast.other_customer.id, cast.stranger.id]
    found = list_statements(ids, DateRange(month.first, today()), terms=terms)
    total = sum(one.statement.total for one in found.values())
    assert minor(page.figure("Revenue so far").split()[0]) == total


def test_its_forecast_is_what_is_used_and_what_stands_in_grey(app: APIFlask, cast: Cast) -> None:
    month = Month.of(today())
    for day in DateRange(month.first, today()):
        create_record(cast, quantity=20_011 * day.day, occurred_at=at(day))
    page = Visitor(app, cast.manager).open("/")
    rows = page.table("Usage cost by day, USD")
    assert len(rows) == month.days
    forecast = minor(page.figure("Forecast for the month").split()[0])
    assert sum(minor(row[-1]) for row in rows) == forecast
    if today() == month.last:
        assert all(len(row) == 2 for row in rows)
    else:
        assert all(minor(row[1]) == 0 < minor(row[2]) for row in rows[today().day :])
        assert all(minor(row[2]) == 0 for row in rows[: today().day])


def test_it_answers_htmx_with_what_changes_alone(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.manager)
    live = visitor.open("/").find("div", id="live")
    assert (live.get("hx-get"), live.get("hx-trigger")) == ("/", "every 30s")
    fragment = visitor.request("GET", "/", headers={"HX-Request": "true"})
    assert fragment.source.lstrip().startswith('<div id="live"')
    assert "<html" not in fragment.source
    assert 'id="updated" hx-swap-oob="true"' in fragment.source
    assert fragment.answer.vary.as_set() >= {"hx-request"}


def test_it_prices_nothing_while_nothing_has_changed(
    app: APIFlask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_record(cast, quantity=500000)
    monkeypatch.setattr(views, "FRESH_FOR", timedelta(days=3650))  # no minute ends meanwhile
    visitor = Visitor(app, cast.manager)
    live = visitor.open("/").find("div", id="live")
    known = {"HX-Request": "true", **json.loads(live.attrib["hx-headers"])}
    with monkeypatch.context() as patch:
        patch.setattr(views, "get_overview", None)
        same = visitor.request("GET", "/", headers=known)
    assert (same.status, same.source) == (304, "")
    # Or else htmx would swap the empty body in.
    assert same.answer.headers["HX-Reswap"] == "none"
    without_htmx = visitor.request("GET", "/", headers={"If-None-Match": known["If-None-Match"]})
    assert without_htmx.status == 200
    create_record(cast, quantity=1000)
    changed = visitor.request("GET", "/", headers=known)
    assert changed.status == 200
    assert changed.answer.headers["ETag"] != known["If-None-Match"]
    other = Visitor(app, cast.admin).request("GET", "/", headers=known)
    assert other.status == 200


def test_it_notices_a_job_that_went_on(
    app: APIFlask, cast: Cast, monkeypatch: pytest.MonkeyPatch, run_jobs: RunJobs
) -> None:
    monkeypatch.setattr(views, "FRESH_FOR", timedelta(days=3650))
    body = {"user_ids": "all", "month": str(Month.of(today()).previous), "format": "csv"}
    assert cast.manager.post("/api/v1/reports", body).status_code == 202
    visitor = Visitor(app, cast.manager)
    live = visitor.open("/").find("div", id="live")
    known = {"HX-Request": "true", **json.loads(live.attrib["hx-headers"])}
    assert visitor.request("GET", "/", headers=known).status == 304
    run_jobs()
    done = visitor.request("GET", "/", headers=known)
    assert done.status == 200
    assert "Download" in done.source


def test_it_shows_a_month_that_is_over(app: APIFlask, cast: Cast) -> None:
    before = Month.of(today()).previous
    subscribe_before(cast.customer, before)
    create_record(cast, quantity=250_000, occurred_at=at(before.last))
    create_record(cast, quantity=500_000)
    visitor = Visitor(app, cast.manager)
    assert f"/?month={before}" in visitor.open("/").links
    page = visitor.open(f"/?month={before}")
    assert page.heading == f"{before.first:%B %Y}"
    assert page.figure("Revenue").startswith("$105.00 nothing in ")
    assert "Forecast" not in page.text
    assert page.all("div", id="live") == []
    rows = page.table("Usage cost by day, USD")
    assert (len(rows), rows[-1][-1]) == (before.days, "$105.00")


def test_it_shows_this_month_for_an_address_that_names_none_of_those_offered(
    app: APIFlask, cast: Cast
) -> None:
    visitor = Visitor(app, cast.manager)
    for month in ("", "x", "1970-01", "9998-12", "2026-13", "%00", str(Month.of(today()).next)):
        page = visitor.open(f"/?month={month}")
        assert page.find("div", id="live") is not None, month


def test_it_is_marked_while_demo_data_is_in(app: APIFlask, cast: Cast) -> None:
    manager = Visitor(app, cast.manager)
    assert "demo data" not in text_of(manager.open("/").root)
    with transaction():
        mark_demo_loaded(now=datetime.now(UTC))
        db.session.get_one(User, cast.customer.id).is_demo = True
    for path, is_marked in (
        ("/", True),
        (f"/?month={Month.of(today()).previous}", True),
        (f"/customers/{cast.customer.id}", True),
        (f"/customers/{cast.other_customer.id}", False),
    ):
        assert ("demo data" in text_of(manager.open(path).root)) is is_marked, path


def test_past_months_of_many_customers_are_offered_once_they_are_kept(
    app: APIFlask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billtrack.billing.month_totals.queries.SMALL", 0)
    before = Month.of(today()).previous
    subscribe_before(cast.customer, before)
    create_record(cast, quantity=250000, occurred_at=at(before.first))
    manager = Visitor(app, cast.manager)
    assert "Last month" not in text_of(manager.open("/").root)
    refresh_past(terms=Terms(current_calendar(), "USD", datetime.now(UTC)))
    assert "Last month" in text_of(manager.open("/").root)
    page = manager.open(f"/?month={before}")
    assert page.figure("Revenue").startswith("$105.00")
    assert text_of(page.all("h1")[0]) == f"{before.first:%B %Y}"
