"""Recording usage by hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from apiflask import APIFlask

from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.setup.initialise import initialise
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.usage.records.models import UsageDaily, UsageKey, UsageMonthly, UsageRecord
from tests.cast import Cast, create_cast
from tests.conftest import make_settings
from tests.dashboard.page import Visitor, count

PATH = "/usage/records"
DIGITS = "Write a whole number in digits only, such as 500000."
BOUNDS = "Write a number from 1 to 1,000,000,000,000,000."
TIME = "Write a day and a time, such as 2026-11-22T14:30."
CHOOSE = "Choose one of the list."


def typed(cast: Cast, **changes: str) -> dict[str, str]:
    usual = {"user_id": str(cast.customer.id), "event": "api_calls", "quantity": "500000"}
    return {**usual, **changes}


def records() -> list[UsageRecord]:
    db.session.rollback()
    return list(db.session.query(UsageRecord).order_by(UsageRecord.id))


def test_it_records_what_was_typed(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.manager)
    page = visitor.follow(visitor.send(visitor.open("/usage"), PATH, typed(cast)))
    assert page.alerts == ["The usage is recorded."]
    assert page.table("Usage records")[0][1:] == ["Customer", "API calls", "500,000", "Manager"]
    (record,) = records()
    assert (record.quantity, record.user_id) == (500000, cast.customer.id)
    assert record.recorded_by_id == cast.manager.id
    assert abs(record.occurred_at - datetime.now(UTC)) < timedelta(minutes=1)
    assert visitor.open("/usage").alerts == []


def test_it_records_at_the_time_that_was_typed(app: APIFlask, cast: Cast) -> None:
    at = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(days=3)
    visitor = Visitor(app, cast.provider)
    for pattern in ("%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"):
        page = visitor.open("/usage")
        visitor.follow(visitor.send(page, PATH, typed(cast, occurred_at=f"{at:{pattern}}")))
    assert [record.occurred_at for record in records()] == [at, at]


def test_the_same_form_records_once(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.manager)
    page = visitor.open("/usage")
    first, second = (visitor.send(page, PATH, typed(cast)) for _ in range(2))
    assert first.location == second.location
    assert visitor.follow(second).alerts[-1] == "This was recorded before."
    assert (count(UsageRecord), count(UsageKey)) == (1, 1)
    visitor.send(visitor.open("/usage"), PATH, typed(cast))
    assert count(UsageRecord) == 2


def test_the_same_form_with_other_figures_records_them_when_sent_again(
    app: APIFlask, cast: Cast
) -> None:
    visitor = Visitor(app, cast.manager)
    page = visitor.open("/usage")
    visitor.send(page, PATH, typed(cast))
    again = visitor.send(page, PATH, typed(cast, quantity="7"))
    assert again.status == 422
    assert again.alerts[-1].startswith("This form was recorded before with other content.")
    assert count(UsageRecord) == 1
    assert visitor.send(again, PATH).status == 303
    assert [record.quantity for record in records()] == [500000, 7]


def test_it_says_what_is_wrong_beside_the_field_and_keeps_what_was_typed(
    app: APIFlask, cast: Cast
) -> None:
    cast.admin.post(f"/api/v1/users/{cast.other_customer.id}/deactivate")
    now = datetime.now(UTC)
    visitor = Visitor(app, cast.manager)
    form = visitor.open("/usage")
    for name, value, error in (
        ("user_id", "", "Choose a customer."),
        ("user_id", "999", CHOOSE),
        ("user_id", "x", CHOOSE),
        ("user_id", "-1", CHOOSE),
        ("user_id", "1.5", CHOOSE),
        ("user_id", "5\0", CHOOSE),
        ("user_id", "9" * 400, CHOOSE),
        ("user_id", str(cast.manager.id), CHOOSE),
        ("user_id", str(cast.other_customer.id), CHOOSE),
        ("event", "", "Choose an event."),
        ("event", "unheard_of", CHOOSE),
        ("event", "api_calls\0", CHOOSE),
        ("event", "x" * 5000, CHOOSE),
        ("quantity", "", "Write how much was used."),
        ("quantity", "   ", "Write how much was used."),
        ("quantity", "0", BOUNDS),
        ("quantity", "000", BOUNDS),
        ("quantity", "-5", DIGITS),
        ("quantity", "+5", DIGITS),
        ("quantity", "1.5", DIGITS),
        ("quantity", "1,000", DIGITS),
        ("quantity", "1e3", DIGITS),
        ("quantity", "0x10", DIGITS),
        ("quantity", "1_000", DIGITS),
        ("quantity", "٣", DIGITS),
        ("quantity", "５", DIGITS),
        ("quantity", "NaN", DIGITS),
        ("quantity", "true", DIGITS),
        ("quantity", "5\0", DIGITS),
        ("quantity", "1000000000000001", BOUNDS),
        ("quantity", "9" * 5000, BOUNDS),
        ("occurred_at", "yesterday", TIME),
        ("occurred_at", "2026-02-30T10:00", TIME),
        ("occurred_at", "2026-11-22", TIME),
        ("occurred_at", "2026-11-22T25:00", TIME),
        ("occurred_at", "2026-11-22T10:00Z", TIME),
        ("occurred_at", "2026-11-22T10:00\0", TIME),
        ("occurred_at", "-2026-11-22T10:00", TIME),
        ("occurred_at", "0001-01-01T00:00", "Write a year from 2000 to 2999."),
        ("occurred_at", "9999-12-31T23:59", "Write a year from 2000 to 2999."),
        ("occurred_at", "2001-01-01T00:00", "This is more than 400 days ago."),
        (
            "occurred_at",
            f"{now + timedelta(minutes=7):%Y-%m-%dT%H:%M}",
            "This is more than 5 minutes in the future.",
        ),
    ):
        page = visitor.send(form, PATH, typed(cast, **{name: value}))
        assert page.status == 422, (name, value)
        assert page.error(PATH, name) == error, (name, value)
        kept = page.values(PATH)
        if name in {"quantity", "occurred_at"} and "\0" not in value:
            assert kept[name] == value
        assert kept["event"] == ("api_calls" if name != "event" else "")
    assert (count(UsageRecord), count(UsageKey), count(UsageDaily)) == (0, 0, 0)


@pytest.mark.parametrize("value", ["", "x" * 256, "a\0b", None])
def test_it_asks_to_load_the_page_again_when_its_hidden_field_is_damaged(
    app: APIFlask, cast: Cast, value: str | None
) -> None:
    visitor = Visitor(app, cast.manager)
    data = {**visitor.open("/usage").values(PATH), **typed(cast)}
    if value is None:
        del data["idempotency_key"]
    else:
        data["idempotency_key"] = value
    page = visitor.request("POST", PATH, data=data)
    assert page.status == 422
    assert page.alerts
    assert count(UsageRecord) == 0


def test_it_bears_fields_that_are_missing_doubled_or_unknown(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.manager)
    data = {**visitor.open("/usage").values(PATH), **typed(cast)}
    for name in ("user_id", "event", "quantity"):
        rest = {key: value for key, value in data.items() if key != name}
        page = visitor.request("POST", PATH, data=rest)
        assert page.status == 422
        assert page.error(PATH, name)
    assert count(UsageRecord) == 0
    doubled = {**data, "quantity": ["7", "x"], "recorded_by_id": "1", "created_at": "x"}
    assert visitor.request("POST", PATH, data=doubled).status == 303
    assert [record.quantity for record in records()] == [7]


def test_it_says_when_a_month_would_hold_too_much(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.manager)
    noon = datetime.now(UTC).replace(hour=12, minute=0) - timedelta(days=3)
    at = f"{noon:%Y-%m-%dT%H:%M}"  # both in one month, whatever begins meanwhile
    visitor.send(visitor.open("/usage"), PATH, typed(cast, occurred_at=at))
    with transaction() as session:
        session.query(UsageMonthly).one().quantity = 10**18 - 5
    page = visitor.send(visitor.open("/usage"), PATH, typed(cast, quantity="6", occurred_at=at))
    assert page.status == 422
    assert "would exceed 10^18" in str(page.error(PATH, "quantity"))
    assert count(UsageRecord) == 1


def test_it_reads_times_in_the_billing_time_zone(
    tmp_path: Path,
) -> None:
    settings = make_settings(tmp_path, timezone="Europe/Berlin")
    app = create_app(settings)
    app.testing = True
    year = datetime.now(UTC).year if datetime.now(UTC).month > 10 else datetime.now(UTC).year - 1
    spring, autumn = last_sunday(year, 3), last_sunday(year, 10)
    with app.app_context():
        initialise(settings, now=datetime.now(UTC))
        cast = create_cast()
        visitor = Visitor(app, cast.manager)
        page = visitor.open("/usage")
        assert "In Europe/Berlin. Left empty: now." in page.text
        for text in (f"{spring}T02:00", f"{spring}T02:30", f"{spring}T02:59:59"):
            page = visitor.send(visitor.open("/usage"), PATH, typed(cast, occurred_at=text))
            assert page.status == 422
            assert page.error(PATH, "occurred_at") == (
                "This time does not exist in Europe/Berlin: clocks skip it."
            )
            assert page.values(PATH)["occurred_at"] == text
        assert count(UsageRecord) == 0
        for text in (f"{spring}T01:59", f"{spring}T03:00", f"{autumn}T02:30"):
            visitor.follow(
                visitor.send(visitor.open("/usage"), PATH, typed(cast, occurred_at=text))
            )
        assert [f"{record.occurred_at:%Y-%m-%dT%H:%M}" for record in records()] == [
            f"{spring}T00:59",
            f"{spring}T01:00",
            f"{autumn}T00:30",
        ]
        assert ", 02:30:00" in visitor.open("/usage").table("Usage records")[0][0]
        db.session.remove()
        db.engine.dispose()


def last_sunday(year: int, month: int) -> str:
    last = datetime(year, month, 31, tzinfo=UTC)
    return f"{last - timedelta(days=(last.weekday() + 1) % 7):%Y-%m-%d}"
