"""Rollups are proved against the records, and made anew where they are wrong."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from apiflask import APIFlask
from sqlalchemy import delete, insert, select, update

from billtrack.core.periods import BillingCalendar
from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.usage.ingest.intake import submit
from billtrack.usage.records.models import UsageDaily, UsageMonthly, UsageRecord
from billtrack.usage.records.rollups import NOTHING, Total
from billtrack.usage.records.submissions import Terms, UsageInput
from billtrack.usage.records.verification import (
    Difference,
    Finding,
    MonthDifference,
    repair,
    verify,
)
from tests.cast import SYSTEM, Cast, create_record, terms
from tests.usage.racing import in_threads

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def differences() -> list[Finding]:
    return [one for user in verify(calendar=current_calendar()) for one in user.differences]


def repair_all(found: Sequence[Finding]) -> None:
    for user_id in dict.fromkeys(one.user_id for one in found):
        own = [one for one in found if one.user_id == user_id]
        repair(own, calendar=current_calendar(), actor=SYSTEM, now=datetime.now(UTC))


def spoil(cast: Cast) -> None:
    """Make every kind of difference: too much, missing, and of nothing."""
    today = datetime.now(UTC).date()
    for member in (cast.customer, cast.other_customer):
        for event in ("api_calls", "cpu_time"):
            create_record(cast, user=member, event=event, quantity=1000)
            create_record(cast, user=member, event=event, quantity=234)
    with transaction() as session:
        own = UsageDaily.user_id == cast.customer.id
        session.execute(update(UsageDaily).where(own, UsageDaily.meter_id == 1).values(quantity=7))
        session.execute(delete(UsageDaily).where(own, UsageDaily.meter_id == 3))
        row = {"meter_id": 1, "day": today - timedelta(days=40), "quantity": 5, "count": 1}
        session.execute(insert(UsageDaily).values(user_id=cast.stranger.id, **row))


def test_what_was_taken_in_is_found_equal(cast: Cast) -> None:
    for quantity in (1, 2, 3):
        create_record(cast, quantity=quantity)
    checked = list(verify(calendar=current_calendar()))
    assert sum(user.rollups for user in checked) == 1
    assert differences() == []


def test_every_kind_of_difference_is_named_and_repaired(cast: Cast) -> None:
    spoil(cast)
    found = differences()
    days = [one for one in found if isinstance(one, Difference)]
    assert [(one.user_id, one.event, one.recorded, one.rolled_up) for one in days] == [
        (cast.customer.id, "api_calls", Total(1234, 2), Total(7, 2)),
        (cast.customer.id, "cpu_time", Total(1234, 2), NOTHING),
        (cast.stranger.id, "api_calls", NOTHING, Total(5, 1)),
    ]
    repair_all(found)
    assert differences() == []
    assert db.session.get(UsageDaily, (cast.stranger.id, 1, "", days[2].day)) is None
    entries = db.session.scalars(
        select(AuditEntry).where(AuditEntry.action == "usage.rollups_repaired")
    ).all()
    assert [entry.object_id for entry in entries] == [
        cast.customer.id,
        cast.customer.id,
        cast.stranger.id,
    ]


def test_months_that_are_not_the_sum_of_their_days_are_named_and_repaired(cast: Cast) -> None:
    today, events = datetime.now(UTC).date(), ("api_calls", "cpu_time", "data_storage")
    for event in events:
        create_record(cast, event=event, quantity=1234)
    month, long_ago = today.replace(day=1), today.replace(day=1, year=today.year - 1)
    with transaction() as session:
        own = UsageMonthly.user_id == cast.customer.id
        meters = session.scalars(select(UsageMonthly.meter_id).where(own)).all()
        session.execute(
            update(UsageMonthly).where(own, UsageMonthly.meter_id == meters[0]).values(quantity=7)
        )
        session.execute(delete(UsageMonthly).where(own, UsageMonthly.meter_id == meters[1]))
        row = {"user_id": cast.customer.id, "meter_id": meters[2], "month": long_ago}
        session.execute(insert(UsageMonthly).values(**row, quantity=5))
    found = differences()
    months = [one for one in found if isinstance(one, MonthDifference)]
    assert len(months) == len(found)
    assert {(one.meter_id, one.month, one.days, one.rolled_up) for one in months} == {
        (meters[0], month, 1234, 7),
        (meters[1], month, 1234, 0),
        (meters[2], long_ago, 0, 5),
    }
    repair_all(found)
    assert differences() == []
    assert db.session.get(UsageMonthly, (cast.customer.id, meters[2], long_ago)) is None


def test_a_month_beyond_the_limit_is_repaired_to_shrink_only(cast: Cast) -> None:
    create_record(cast, quantity=5)
    with transaction() as session:
        (row,) = session.scalars(select(UsageDaily))
        beyond = {"user_id": row.user_id, "meter_id": row.meter_id, "count": 1}
        for day in (1, 2, 3):
            at = row.day.replace(day=day) if day != row.day.day else row.day.replace(day=4)
            session.execute(insert(UsageDaily).values(**beyond, day=at, quantity=10**18))
    months = [one for one in differences() if isinstance(one, MonthDifference)]
    repair_all(months)
    month = db.session.scalars(select(UsageMonthly)).one()
    assert month.quantity == month.ceiling == 3 * 10**18 + 5


@pytest.mark.parametrize(
    ("zone", "instant", "day"),
    [
        ("Europe/Berlin", "2026-10-24T21:59:59+00:00", "2026-10-24"),
        ("Europe/Berlin", "2026-10-24T22:00:00+00:00", "2026-10-25"),
        ("Europe/Berlin", "2026-10-25T22:59:59+00:00", "2026-10-25"),
        ("Europe/Berlin", "2026-10-25T23:00:00+00:00", "2026-10-26"),
        ("Asia/Kathmandu", "2026-10-25T18:14:59.999999+00:00", "2026-10-25"),
        ("Asia/Kathmandu", "2026-10-25T18:15:00+00:00", "2026-10-26"),
    ],
)
def test_days_are_those_of_the_billing_zone(cast: Cast, zone: str, instant: str, day: str) -> None:
    calendar = BillingCalendar(zone)
    rules = Terms(cast.provider.id, NOW, calendar, 62)
    submit(
        [UsageInput(cast.customer.id, "api_calls", 12, datetime.fromisoformat(instant))],
        terms=rules,
    )
    (row,) = db.session.scalars(select(UsageDaily))
    assert row.day == date.fromisoformat(day)
    assert [one for user in verify(calendar=calendar) for one in user.differences] == []


def test_usage_that_arrives_during_a_repair_is_counted_once(app: APIFlask, cast: Cast) -> None:
    for _ in range(3):
        create_record(cast, quantity=100)
    with transaction() as session:
        session.execute(update(UsageDaily).values(quantity=1, count=1))
    found = differences()
    sent = threading.Event()
    user_id, rules = cast.customer.id, terms(cast.provider)

    def record() -> None:
        for number in range(20):
            item = UsageInput(user_id, "api_calls", 1, idempotency_key=f"late-{number}")
            submit([item], terms=rules)
            sent.set()

    def mend() -> None:
        assert sent.wait(timeout=60)
        repair_all(found)

    in_threads(app, [record, record, mend])
    assert differences() == []
    (row,) = db.session.scalars(select(UsageDaily).execution_options(populate_existing=True))
    assert (row.quantity, row.count) == (320, 23)
    assert db.session.query(UsageRecord).count() == 23
