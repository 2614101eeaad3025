"""A month of a user and event holds at most 10^18 base units, however many writers meet there."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from apiflask import APIFlask
from sqlalchemy import insert, select

from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.core.periods import BillingCalendar
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.usage.ingest.decide import QuantityOverflow
from billtrack.usage.ingest.intake import submit, submit_one
from billtrack.usage.ingest.reversing import reverse
from billtrack.usage.records.models import MAX_TOTAL, UsageDaily, UsageMonthly
from billtrack.usage.records.outcomes import Outcome
from billtrack.usage.records.submissions import Terms, UsageInput
from tests.api.refusals import row_counts
from tests.cast import SYSTEM, Cast
from tests.entrypoints.server.fast_path.loops import before, see
from tests.usage.racing import in_threads

WRITERS = 16
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
UTC_DAYS = BillingCalendar("UTC")
EVERYTHING = Reach(Breadth.ALL, 0)


def rules_of(cast: Cast, zone: str = "UTC") -> Terms:
    return Terms(cast.provider.id, NOW, BillingCalendar(zone), 62)


def fill(cast: Cast, *, room: int) -> None:
    """Leave so much room in November, by a day of which no writer adds anything."""
    (first,) = submit([UsageInput(cast.customer.id, "api_calls", 1, on(27))], terms=rules_of(cast))
    assert first.stored is not None
    own = {"user_id": cast.customer.id, "meter_id": first.stored.meter_id}
    held = MAX_TOTAL - room - 1
    with transaction() as session:
        month = session.get_one(UsageMonthly, {**own, "month": on(1).date()})
        month.quantity += held
        session.execute(insert(UsageDaily).values(**own, day=on(26).date(), quantity=held, count=1))


def on(day: int) -> datetime:
    return NOW.replace(day=day)


def month_of(cast: Cast) -> int:
    db.session.rollback()
    query = select(UsageMonthly.quantity).where(UsageMonthly.user_id == cast.customer.id)
    return db.session.scalars(query.where(UsageMonthly.month == on(1).date())).one()


def told(outcome: Outcome) -> str:
    return outcome.error.code if outcome.error else outcome.status


@pytest.mark.parametrize("size", [1, 5, 600])
def test_exactly_what_fits_is_stored(app: APIFlask, cast: Cast, size: int) -> None:
    room = size * WRITERS // 2 + 3
    fill(cast, room=room)
    user_id, other_id, rules = cast.customer.id, cast.other_customer.id, rules_of(cast)

    def write(day: int) -> list[str]:
        own = [
            UsageInput(user_id, "api_calls", 1, on(day), idempotency_key=f"{day}-{n}")
            for n in range(size)
        ]
        others = [UsageInput(other_id, "api_calls", 1, on(day), idempotency_key=f"o-{day}")]
        return [told(one) for one in submit([*own, *others], terms=rules)]

    answers = in_threads(app, [partial(write, day) for day in range(1, WRITERS + 1)])
    assert [answer[-1] for answer in answers] == ["accepted"] * WRITERS
    counts = Counter(one for answer in answers for one in answer[:-1])
    assert counts == {"accepted": room, "quantity_overflow": size * WRITERS - room}
    assert month_of(cast) == MAX_TOTAL
    assert row_counts()["usage_records"] == 1 + room + WRITERS


def test_single_records_that_meet_are_each_answered(app: APIFlask, cast: Cast) -> None:
    fill(cast, room=7)
    user_id, rules = cast.customer.id, rules_of(cast)

    def write(day: int) -> str:
        try:
            submit_one(UsageInput(user_id, "api_calls", 1, on(day)), terms=rules)
        except QuantityOverflow as error:
            return error.code
        return "accepted"

    answers = in_threads(app, [partial(write, day) for day in range(1, WRITERS + 1)])
    assert Counter(answers) == {"accepted": 7, "quantity_overflow": WRITERS - 7}
    assert month_of(cast) == MAX_TOTAL


def test_requests_that_meet_are_each_answered(app: APIFlask, cast: Cast) -> None:
    at = datetime.now(UTC).replace(day=1) - timedelta(days=1)  # a month that has all its days
    path, days = "/api/v1/usage/", [at - timedelta(days=n) for n in range(WRITERS)]
    body = {"user_id": cast.customer.id, "event": "api_calls", "quantity": 1}

    def post(instant: datetime, quantity: int = 1) -> str:
        answer = cast.provider.post(
            path, {**body, "quantity": quantity, "occurred_at": instant.isoformat()}
        )
        return "accepted" if answer.status_code == 201 else answer.get_json()["code"]

    with before(app):
        see(cast)
        assert post(at) == "accepted"
        with transaction() as session:
            session.scalars(select(UsageMonthly)).one().quantity = MAX_TOTAL - 5
        answers = in_threads(app, [partial(post, instant) for instant in days])
    assert Counter(answers) == {"accepted": 5, "quantity_overflow": WRITERS - 5}


@pytest.mark.parametrize(
    ("zone", "instant", "month"),
    [
        ("Europe/Berlin", "2026-10-31T22:59:59+00:00", "2026-10-01"),
        ("Europe/Berlin", "2026-10-31T23:00:00+00:00", "2026-11-01"),
    ],
)
def test_the_month_is_that_of_the_billing_zone(
    cast: Cast, zone: str, instant: str, month: str
) -> None:
    at = datetime.fromisoformat(instant)
    item = UsageInput(cast.customer.id, "api_calls", 12, at)
    for count in (1, 600):
        submit([item] * count, terms=rules_of(cast, zone))
    (row,) = db.session.scalars(select(UsageMonthly))
    assert (str(row.month), row.quantity) == (month, 601 * 12)


def test_a_month_beyond_the_limit_only_shrinks(cast: Cast) -> None:
    rules = rules_of(cast)
    (kept,) = submit([UsageInput(cast.customer.id, "api_calls", 10**15, on(3))], terms=rules)
    assert kept.record_id is not None
    with transaction() as session:
        month = session.scalars(select(UsageMonthly)).one()
        month.quantity = month.ceiling = MAX_TOTAL + 10**15
    one_more = UsageInput(cast.customer.id, "api_calls", 1, on(4))
    assert [told(one) for one in submit([one_more], terms=rules)] == ["quantity_overflow"]
    reverse(kept.record_id, reason="r", reach=EVERYTHING, actor=SYSTEM, terms=rules)
    month = db.session.scalars(select(UsageMonthly)).one()
    assert (month.quantity, month.ceiling) == (MAX_TOTAL, MAX_TOTAL)
    assert [told(one) for one in submit([one_more], terms=rules)] == ["quantity_overflow"]


def test_a_reversal_makes_room_again(cast: Cast) -> None:
    rules = rules_of(cast)
    (kept,) = submit([UsageInput(cast.customer.id, "api_calls", 10, on(3))], terms=rules)
    assert kept.record_id is not None
    with transaction() as session:
        session.scalars(select(UsageMonthly)).one().quantity = MAX_TOTAL
    reverse(kept.record_id, reason="r", reach=EVERYTHING, actor=SYSTEM, terms=rules)
    items = [UsageInput(cast.customer.id, "api_calls", n, on(5)) for n in (9, 2, 1)]
    assert [told(one) for one in submit(items, terms=rules)] == [
        "accepted",
        "quantity_overflow",
        "accepted",
    ]
    assert month_of(cast) == MAX_TOTAL
