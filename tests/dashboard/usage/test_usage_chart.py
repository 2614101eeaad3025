"""The chart and the ranges of the usage page, and the form that tells early what is wrong."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from apiflask import APIFlask

from billtrack.platform.extensions import current_calendar
from tests.cast import Cast, create_record
from tests.dashboard.page import Page, Visitor, text_of

pytestmark = pytest.mark.one_database

CHECK = "/usage/records/check"
HTMX = {"HX-Request": "true"}


def days_ago(days: int) -> date:
    return current_calendar().today(datetime.now(UTC)) - timedelta(days=days)


def sums(page: Page, caption: str) -> list[list[str]]:
    return [row[1:] for row in page.table(caption) if set(row[1:]) - {"0", "0.0 h"}]


def test_it_draws_what_is_filtered(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=500000)
    create_record(cast, quantity=7, user=cast.other_customer)
    at = current_calendar().starts_at(days_ago(40))
    create_record(cast, quantity=7200, event="vm_uptime", occurred_at=at)
    visitor = Visitor(app, cast.manager)
    assert sums(visitor.open("/usage"), "Records by day") == [["2"]]
    wide = visitor.open(f"/usage?from={days_ago(60)}")
    assert sums(wide, "Records by day") == [["0", "1", "1"], ["2", "0", "2"]]
    page = visitor.open(f"/usage?event=api_calls&user_id={cast.customer.id}")
    assert sums(page, "API calls by day") == [["500,000"]]
    page = visitor.open(f"/usage?event=vm_uptime&from={days_ago(200)}")
    assert sums(page, "VM uptime by month, h") == [["2.0 h"]]
    assert "by day" not in visitor.open("/usage?event=cpu_time").text


def test_a_customer_sees_its_own_chart_and_a_provider_none(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=500000)
    create_record(cast, quantity=7, user=cast.other_customer)
    assert sums(Visitor(app, cast.customer).open("/usage"), "Records by day") == [["1"]]
    assert "by day" not in Visitor(app, cast.stranger).open("/usage").text
    assert "by day" not in Visitor(app, cast.provider).open("/usage").text


def test_ranges_keep_the_rest_of_the_filter(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=500000)
    visitor = Visitor(app, cast.manager)
    page = visitor.open("/usage?event=api_calls")
    for label in ("All", "Today", "Last month", "12 months"):
        (link,) = (a.attrib["href"] for a in page.all("a") if text_of(a) == label)
        chosen = visitor.open(link)
        now = [text_of(a) for a in chosen.all("a") if a.get("aria-current") == "true"]
        assert label in now
        assert chosen.values("/usage")["event"] == "api_calls"


def test_it_bears_any_range(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=500000)
    visitor = Visitor(app, cast.manager)
    for query in (
        "from=2000-01-01&to=2999-12-31",
        "from=2999-12-31",
        "to=2000-01-01",
        "from=2999-12-31&to=2000-01-01",
        "from=x&to=2026-11-01",
        "from=%00",
    ):
        visitor.open(f"/usage?{query}")


def test_a_field_tells_what_is_wrong_when_it_is_left(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.manager)
    for name, typed, said in (
        ("quantity", "12.5", "Write a whole number in digits only, such as 500000."),
        ("quantity", "0", "Write a number from 1 to 1,000,000,000,000,000."),
        ("quantity", "", "Write how much was used."),
        ("quantity", "500000", None),
        ("event", "unheard_of", "Choose one of the list."),
        ("event", "api_calls", None),
        ("user_id", "999999", "Choose one of the list."),
        ("user_id", str(cast.customer.id), None),
        ("occurred_at", "noon", "Write a day and a time, such as 2026-11-22T14:30."),
        ("occurred_at", "2026-11-22T14:30", None),
        ("occurred_at", "", None),
    ):
        page = visitor.request("GET", f"{CHECK}/{name}", query_string={name: typed}, headers=HTMX)
        assert page.status == 200
        wrong = [text_of(p) for p in page.all("p", id=f"{name}-error")]
        assert wrong == ([said] if said else []), (name, typed)
        assert "<html" not in page.source
        assert f'name="{name}"' in page.source


def test_only_fields_of_the_form_are_checked_and_only_for_who_records(
    app: APIFlask, cast: Cast
) -> None:
    visitor = Visitor(app, cast.manager)
    for name in ("idempotency_key", "csrf_token", "data", "x", "__class__"):
        assert visitor.request("GET", f"{CHECK}/{name}", headers=HTMX).status == 404
    refused = Visitor(app, cast.customer).request("GET", f"{CHECK}/user_id", headers=HTMX)
    assert refused.status == 403
    assert "Other customer" not in refused.source
