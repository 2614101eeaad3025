"""The list of usage records: filter, page, what each role sees."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from apiflask import APIFlask

from billtrack.platform.extensions import current_calendar
from tests.cast import Cast, create_record
from tests.dashboard.page import Page, Visitor

pytestmark = pytest.mark.one_database

CAPTION = "Usage records, newest first"


def quantities(page: Page) -> list[str]:
    if not any("Usage records" in "".join(table[0].itertext()) for table in page.all("table")):
        return []
    return [row[3] for row in page.table(CAPTION)]


def days_ago(days: int) -> date:
    return current_calendar().today(datetime.now(UTC)) - timedelta(days=days)


@pytest.mark.both_databases
def test_it_lists_the_last_recorded_first(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=500000)
    create_record(cast, quantity=90, event="vm_uptime", user=cast.other_customer)
    rows = Visitor(app, cast.manager).open("/usage").table(CAPTION)
    assert [row[1:] for row in rows] == [
        ["Other customer", "VM uptime", "0.0 h", "Provider"],
        ["Customer", "API calls", "500,000", "Provider"],
    ]


@pytest.mark.both_databases
def test_it_filters_by_customer_event_and_days(app: APIFlask, cast: Cast) -> None:
    for number, (event, user, days) in enumerate(
        [
            ("api_calls", cast.customer, 0),
            ("api_calls", cast.other_customer, 1),
            ("data_storage", cast.customer, 1),
            ("api_calls", cast.customer, 2),
            ("api_calls", cast.customer, 3),
        ]
    ):
        at = current_calendar().starts_at(days_ago(days))
        create_record(cast, quantity=number + 1, event=event, user=user, occurred_at=at)
    visitor = Visitor(app, cast.manager)
    tomorrow = days_ago(-1)
    for query, expected in (
        ("", ["5", "4", "3 GB·h", "2", "1"]),
        (f"user_id={cast.other_customer.id}", ["2"]),
        ("event=data_storage", ["3 GB·h"]),
        (f"from={days_ago(2)}&to={days_ago(1)}", ["4", "3 GB·h", "2"]),
        (f"from={days_ago(1)}", ["3 GB·h", "2", "1"]),
        (f"to={days_ago(2)}", ["5", "4"]),
        (f"from={days_ago(0)}&to={tomorrow}", ["1"]),
        (f"from={tomorrow}", []),
        ("to=2001-01-01", []),
        ("from=2000-01-01&to=2999-12-31", ["5", "4", "3 GB·h", "2", "1"]),
        (f"user_id={cast.customer.id}&event=api_calls&to={days_ago(2)}", ["5", "4"]),
        (f"user_id={cast.stranger.id}", []),
    ):
        page = visitor.open(f"/usage?{query}")
        assert quantities(page) == expected, query
        if not expected:
            assert "No records match" in page.text
    shown = visitor.open(f"/usage?event=data_storage&from={days_ago(9)}").values("/usage")
    assert shown == {
        "user_id": "",
        "event": "data_storage",
        "from": str(days_ago(9)),
        "to": "",
    }


def test_it_says_beside_the_field_what_is_wrong_with_the_filter(app: APIFlask, cast: Cast) -> None:
    create_record(cast)
    visitor = Visitor(app, cast.manager)
    day, year = "Write a day that exists, such as 2026-11-22.", "Write a year from 2000 to 2999."
    for query, field, error in (
        ("user_id=999", "user_id", "Choose one of the list."),
        ("user_id=x", "user_id", "Choose one of the list."),
        ("user_id=%00", "user_id", "Choose one of the list."),
        ("user_id=1.0", "user_id", "Choose one of the list."),
        (f"user_id={cast.provider.id}", "user_id", "Choose one of the list."),
        ("event=unheard_of", "event", "Choose one of the list."),
        ("event=" + "x" * 5000, "event", "Choose one of the list."),
        ("from=2026-02-30", "from", day),
        ("from=yesterday", "from", day),
        ("to=2026-11-22T10:00", "to", day),
        ("to=%00", "to", day),
        ("from=0001-01-01", "from", year),
        ("to=9999-12-31", "to", year),
        ("from=1999-12-31", "from", year),
        ("from=2026-11-02&to=2026-11-01", "to", "Choose a day that is not before the first."),
    ):
        page = visitor.open(f"/usage?{query}")
        assert page.error("/usage", field) == error, query
    assert page.values("/usage")["to"] == "2026-11-01"


@pytest.mark.both_databases
def test_it_walks_through_all_records_by_cursor(app: APIFlask, cast: Cast) -> None:
    for number in range(1, 121):
        create_record(cast, quantity=number)
    create_record(cast, quantity=1, event="cpu_time")
    visitor = Visitor(app, cast.manager)
    page = visitor.open("/usage?event=api_calls")
    seen = quantities(page)
    while following := page.all("a", rel="next"):
        page = visitor.open(following[0].attrib["href"])
        seen += quantities(page)
    assert seen == [str(number) for number in range(120, 0, -1)]
    (first,) = page.all("a", rel="first")
    assert first.attrib["href"] == "/usage?event=api_calls"


def test_it_bears_any_cursor(app: APIFlask, cast: Cast) -> None:
    create_record(cast)
    visitor = Visitor(app, cast.manager)
    for text in ("", "x", "-1", "1.5", "%00", "9" * 30, "٣"):
        assert quantities(visitor.open(f"/usage?cursor={text}")) == ["1,000"], text
    assert quantities(visitor.open("/usage?cursor=1")) == []
    assert quantities(visitor.open(f"/usage?cursor={'9' * 18}")) == ["1,000"]


def test_a_customer_sees_its_own_usage_whatever_it_asks_for(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=500000)
    create_record(cast, quantity=7, user=cast.other_customer)
    for member, expected in (
        (cast.customer, ["500,000"]),
        (cast.other_customer, ["7"]),
        (cast.stranger, []),
    ):
        visitor = Visitor(app, member)
        for query in ("", f"?user_id={cast.customer.id}", f"?user_id={cast.other_customer.id}"):
            page = visitor.open(f"/usage{query}")
            assert quantities(page) in ([], expected), query
            assert "user_id" not in page.values("/usage")
        assert quantities(visitor.open("/usage")) == expected
    page = Visitor(app, cast.stranger).open("/usage")
    assert "No usage yet" in page.text
    assert "Record usage" not in page.text
    assert "Other customer" not in page.text


def test_a_provider_sees_what_it_recorded(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=5)
    create_record(cast, quantity=6, recorded_by=cast.other_provider)
    create_record(cast, quantity=7, recorded_by=cast.manager)
    assert quantities(Visitor(app, cast.provider).open("/usage")) == ["5"]
    assert quantities(Visitor(app, cast.other_provider).open("/usage")) == ["6"]
    assert quantities(Visitor(app, cast.admin).open("/usage")) == ["7", "6", "5"]
    page = Visitor(app, cast.provider).open(f"/usage?user_id={cast.customer.id}")
    assert quantities(page) == ["5"]
    assert not any(link.startswith("/customers") for link in page.links)


def test_it_marks_reversals(app: APIFlask, cast: Cast) -> None:
    record = create_record(cast, quantity=70)
    cast.provider.post(f"/api/v1/usage/{record.id}/reverse", {"reason": "twice"})
    rows = Visitor(app, cast.manager).open("/usage").table(CAPTION)
    assert [row[2:4] for row in rows] == [
        ["API calls reversal", "−70"],
        ["API calls reversed", "70"],
    ]
