"""The one door for usage: batches, keys, concurrency, billing days."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Breadth, Reach, Role
from billtrack.core.errors import InvalidError
from billtrack.core.periods import BillingCalendar, Month
from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.setup.initialise import initialise
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.platform.installation.queries import TimezoneMismatch, require_timezone
from billtrack.usage.ingest import store
from billtrack.usage.ingest.intake import LARGE, submit
from billtrack.usage.ingest.reversing import reverse
from billtrack.usage.ingest.store import postgresql, sqlite
from billtrack.usage.records.models import UsageDaily, UsageKey, UsageRecord
from billtrack.usage.records.outcomes import Outcome, Status
from billtrack.usage.records.queries import records_by_id
from billtrack.usage.records.submissions import Misshapen, UsageInput
from tests.api.refusals import row_counts
from tests.cast import SYSTEM, Cast, create_cast, create_record, terms
from tests.conftest import make_settings
from tests.services import PostgresServer, unique_name
from tests.usage.faults import FAULTY, fail_at_quantity
from tests.usage.racing import in_threads

BERLIN = "Europe/Berlin"
EVERYTHING = Reach(Breadth.ALL, 0)


@pytest.fixture(params=["sqlite", "postgresql"])
def berlin(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[APIFlask]:
    """An app on a fresh database that bills in Berlin."""
    changes: dict[str, object] = {"timezone": BERLIN, "backfill_days": 3650}
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        changes["database_url"] = server.create_database(unique_name())
    settings = make_settings(tmp_path, **changes)
    app = create_app(settings)
    with app.app_context():
        initialise(settings, now=datetime.now(UTC))
        yield app
        db.session.remove()
        db.engine.dispose()


def test_it_answers_for_each_of_a_batch_in_order(cast: Cast) -> None:
    create_record(cast, quantity=1, key="old")
    item = UsageInput(user_id=cast.customer.id, event="api_calls", quantity=5)
    batch = [
        item,
        replace(item, quantity=0),
        replace(item, idempotency_key="new"),
        replace(item, event="unheard_of", idempotency_key="bad"),
        replace(item, idempotency_key="new"),
        replace(item, idempotency_key="new", quantity=6),
        replace(item, user_id=10**17),
        replace(item, idempotency_key="old", quantity=1),
        replace(item, idempotency_key="old", quantity=2),
        replace(item, occurred_at=datetime.now(UTC) - timedelta(days=401)),
        replace(item, idempotency_key="bad"),
        item,
    ]
    outcomes = submit(batch, terms=terms(cast.provider))
    assert [told(outcome) for outcome in outcomes] == [
        "accepted",
        "invalid_quantity",
        "accepted",
        "unknown_event",
        "duplicate",
        "idempotency_conflict",
        "unknown_user",
        "duplicate",
        "idempotency_conflict",
        "occurred_at_out_of_range",
        "accepted",  # what was refused used up no key
        "accepted",
    ]
    ids = [outcome.record_id for outcome in outcomes if outcome.record_id is not None]
    assert ids[1] == ids[2]
    assert len(set(ids)) == 5
    assert_rollups_equal_records()
    assert (row_counts()["usage_records"], row_counts()["usage_keys"]) == (5, 3)
    again = submit([batch[2], batch[7], batch[10]], terms=terms(cast.provider))
    assert [outcome.status for outcome in again] == [Status.DUPLICATE] * 3


def test_it_answers_a_batch_of_which_all_are_refused(cast: Cast) -> None:
    before = row_counts()
    bad = UsageInput(user_id=cast.customer.id, event="api_calls", quantity=10**15 + 1)
    outcomes = submit([bad, replace(bad, quantity=-1)], terms=terms(cast.provider))
    assert [told(outcome) for outcome in outcomes] == ["invalid_quantity"] * 2
    assert row_counts() == before
    assert submit([], terms=terms(cast.provider)) == []


def test_it_takes_thousands_at_once(cast: Cast) -> None:
    chosen = random.Random(6009)
    start = datetime.now(UTC)
    items = [
        UsageInput(
            user_id=chosen.choice([cast.customer, cast.other_customer, cast.stranger]).id,
            event=chosen.choice(["api_calls", "vm_uptime", "cpu_time", "data_storage"]),
            quantity=chosen.randint(1, 10**6),
            occurred_at=start - timedelta(minutes=chosen.randint(0, 90 * 1440)),
            idempotency_key=f"k-{number}" if number % 2 else None,
        )
        for number in range(3_000)
    ]
    outcomes = submit(items, terms=terms(cast.provider))
    assert {outcome.status for outcome in outcomes} == {Status.ACCEPTED}
    ids = [outcome.record_id for outcome in outcomes if outcome.record_id is not None]
    records = records_by_id(ids)
    stored = [records[record_id] for record_id in ids]
    assert [(r.user_id, r.event, r.quantity) for r in stored] == [
        (item.user_id, item.event, item.quantity) for item in items
    ]
    assert_rollups_equal_records()


def test_it_finds_used_keys_anywhere_in_a_large_batch(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    for module in (postgresql, sqlite):
        monkeypatch.setattr(module, "find_facts", counting(module.find_facts, asked))
    items = [
        UsageInput(cast.customer.id, "api_calls", 1, idempotency_key=f"k{n}") for n in range(LARGE)
    ]
    changed = UsageInput(cast.customer.id, "api_calls", 2, idempotency_key="k9")
    rules = terms(cast.provider)
    submit([items[7], changed], terms=rules)
    expected = dict.fromkeys(range(LARGE), "accepted") | {7: "duplicate", 9: "conflict"}
    first = submit(items, terms=rules)
    assert [one.status for one in first] == list(expected.values())
    again = submit(items, terms=rules)
    known = dict.fromkeys(range(LARGE), "duplicate") | {9: "conflict"}
    assert [one.status for one in again] == list(known.values())
    ids = [one.record_id for one in first if one.record_id]
    assert ids == [one.record_id for one in again if one.record_id]
    others = [
        UsageInput(cast.customer.id, "api_calls", 1, idempotency_key=f"n{n}") for n in range(LARGE)
    ]
    submit(others, terms=rules)
    # A few keys say that it is new; for what is not, all are looked up.
    assert asked == [2, 3, LARGE, 3, LARGE, 3]
    assert row_counts()["usage_records"] == 2 * LARGE
    assert_rollups_equal_records()


def counting(find: Any, asked: list[int]) -> Any:
    def find_facts(driver: Any, submissions: Any, hashes: Any) -> Any:
        asked.append(sum(key is not None for key in hashes))
        return find(driver, submissions, hashes)

    return find_facts


def test_it_counts_a_batch_as_it_grows_against_the_limit(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billtrack.usage.ingest.decide.MAX_TOTAL", 10)
    item = UsageInput(user_id=cast.customer.id, event="api_calls", quantity=6)
    last_month = current_calendar().starts_at(Month.of(datetime.now(UTC).date()).first) - timedelta(
        days=3
    )
    batch = [
        item,
        item,
        replace(item, quantity=4),
        replace(item, quantity=1),
        replace(item, event="vm_uptime"),
        replace(item, occurred_at=last_month),
        replace(item, user_id=cast.stranger.id),
    ]
    told_of = [told(outcome) for outcome in submit(batch, terms=terms(cast.provider))]
    over = "quantity_overflow"
    assert told_of == ["accepted", over, "accepted", over, "accepted", "accepted", "accepted"]


def test_it_stores_one_record_for_writers_with_one_key(app: APIFlask, cast: Cast) -> None:
    item = UsageInput(cast.customer.id, "api_calls", 5, idempotency_key="k")
    agreed = terms(cast.provider)
    outcomes = in_threads(app, [lambda: submit([item], terms=agreed)[0] for _ in range(4)])
    assert Counter(outcome.status for outcome in outcomes) == {"accepted": 1, "duplicate": 3}
    assert len({outcome.record_id for outcome in outcomes if outcome.record_id}) == 1
    assert row_counts()["usage_records"] == 1
    assert_rollups_equal_records()


def test_it_takes_overlapping_batches_at_once(app: APIFlask, cast: Cast) -> None:
    agreed = terms(cast.provider)
    items = [
        UsageInput(cast.customer.id, "api_calls", n, idempotency_key=f"k-{n}") for n in range(1, 41)
    ]
    batches = [items[:30], items[10:][::-1], items[::-1], items[5:35]]
    all_outcomes = in_threads(app, [partial(submit, batch, terms=agreed) for batch in batches])
    statuses = Counter(outcome.status for outcomes in all_outcomes for outcome in outcomes)
    assert statuses == {"accepted": 40, "duplicate": sum(map(len, batches)) - 40}
    assert row_counts()["usage_records"] == row_counts()["usage_keys"] == 40
    assert_rollups_equal_records()


def test_it_keeps_rollups_equal_to_records_under_many_writers(app: APIFlask, cast: Cast) -> None:
    agreed, users = terms(cast.provider), (cast.customer.id, cast.stranger.id)
    start = datetime.now(UTC)

    def write(seed: int) -> None:
        chosen = random.Random(seed)
        for _ in range(10):
            items = [
                UsageInput(
                    user_id=chosen.choice(users),
                    event=chosen.choice(["api_calls", "vm_uptime"]),
                    quantity=chosen.randint(1, 1000),
                    occurred_at=start - timedelta(days=chosen.randint(0, 3)),
                )
                for _ in range(5)
            ]
            first = submit(items, terms=agreed)[0].record_id
            assert first is not None
            if chosen.random() < 0.5:
                reverse(first, reason="r", reach=EVERYTHING, actor=SYSTEM, terms=agreed)

    in_threads(app, [partial(write, seed) for seed in range(4)])
    assert db.session.scalar(select(func.count()).where(UsageRecord.quantity > 0)) == 200
    assert_rollups_equal_records()


def test_it_reverses_once_when_asked_twice_at_once(app: APIFlask, cast: Cast) -> None:
    record, agreed = create_record(cast, quantity=70), terms(cast.provider)

    def take_back() -> tuple[int, bool]:
        reversal, is_new = reverse(
            record.id, reason="r", reach=EVERYTHING, actor=SYSTEM, terms=agreed
        )
        return reversal.id, is_new

    answers = in_threads(app, [take_back] * 4)
    assert sorted(is_new for _, is_new in answers) == [False, False, False, True]
    assert len({reversal_id for reversal_id, _ in answers}) == 1
    assert row_counts()["usage_records"] == 2
    assert_rollups_equal_records()


def test_it_reverses_a_record_of_whatever_age_at_its_instant(cast: Cast) -> None:
    record = create_record(cast, occurred_at=datetime.now(UTC) - timedelta(days=390))
    later = replace(terms(cast.provider), now=datetime.now(UTC) + timedelta(days=300))
    reversal, is_new = reverse(record.id, reason="r", reach=EVERYTHING, actor=SYSTEM, terms=later)
    assert is_new
    assert reversal.occurred_at == record.occurred_at
    assert (reversal.user_id, reversal.event) == (record.user_id, record.event)
    row = db.session.query(UsageDaily).one()
    assert (row.quantity, row.count) == (0, 2)


def test_it_stores_nothing_when_it_fails_before_the_commit(cast: Cast) -> None:
    before = row_counts()
    fail_at_quantity()
    with pytest.raises(DBAPIError):
        create_record(cast, quantity=FAULTY, key="k")
    assert row_counts() == before
    create_record(cast, key="k")
    assert db.session.query(UsageKey).count() == 1


def test_it_puts_a_late_record_into_its_own_month(cast: Cast) -> None:
    calendar = current_calendar()
    month = Month.of(calendar.today(datetime.now(UTC))).previous
    create_record(cast, quantity=9, occurred_at=calendar.starts_at(month.last))
    row = db.session.query(UsageDaily).one()
    assert (row.day, row.quantity) == (month.last, 9)
    statement = cast.customer.get(f"/api/v1/users/{cast.customer.id}/statement?month={month}")
    assert statement.get_json()["lines"][0]["kind"] == "unpriced"


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        # summer time: the day has 23 hours, the month 743
        ("2026-02-28T22:59:59.999999Z", "2026-02-28"),
        ("2026-02-28T23:00:00Z", "2026-03-01"),
        ("2026-03-28T22:59:59Z", "2026-03-28"),
        ("2026-03-28T23:00:00Z", "2026-03-29"),
        ("2026-03-29T21:59:59Z", "2026-03-29"),
        ("2026-03-29T22:00:00Z", "2026-03-30"),
        ("2026-03-31T21:59:59.999999Z", "2026-03-31"),
        ("2026-03-31T22:00:00Z", "2026-04-01"),
        # winter time: 25 hours, 745
        ("2025-10-25T21:59:59Z", "2025-10-25"),
        ("2025-10-25T22:00:00Z", "2025-10-26"),
        ("2025-10-26T22:59:59Z", "2025-10-26"),
        ("2025-10-26T23:00:00Z", "2025-10-27"),
        ("2025-12-31T22:59:59Z", "2025-12-31"),
        ("2025-12-31T23:00:00Z", "2026-01-01"),
        ("2026-01-01T00:30:00+02:00", "2025-12-31"),
    ],
)
def test_it_puts_an_instant_on_its_billing_day(instant: str, day: str) -> None:
    assert str(BillingCalendar(BERLIN).day_of(datetime.fromisoformat(instant))) == day


def test_it_bills_days_of_the_zone(berlin: APIFlask) -> None:
    cast = create_cast()
    edges = [
        "2026-02-28T22:59:59Z",
        "2026-02-28T23:00:00Z",
        "2026-03-31T21:59:59Z",
        "2026-03-31T22:00:00Z",
    ]
    for number, instant in enumerate(edges):
        create_record(cast, quantity=10**number, occurred_at=datetime.fromisoformat(instant))
    path = f"/api/v1/users/{cast.customer.id}/statement?month=2026-03"
    statement = cast.manager.get(path).get_json()
    assert statement["period"]["starts_at"] == "2026-02-28T23:00:00Z"
    assert statement["period"]["ends_at"] == "2026-03-31T22:00:00Z"
    assert statement["period"]["timezone"] == BERLIN
    assert [line["quantity"] for line in statement["lines"]] == [110]
    march = "from=2026-03-01&to=2026-03-31"
    listed = cast.manager.get(f"/api/v1/usage?{march}").get_json()["data"]
    assert [record["quantity"] for record in listed] == [100, 10]
    for member in (cast.manager, cast.provider):
        by_day = member.get(f"/api/v1/usage/summary?group_by=day&{march}").get_json()["data"]
        assert [(row["day"], row["quantity"]) for row in by_day] == [
            ("2026-03-01", 10),
            ("2026-03-31", 100),
        ]
    with pytest.raises(TimezoneMismatch, match=BERLIN):
        require_timezone("UTC")
    require_timezone(BERLIN)


def test_it_totals_more_than_64_bits(cast: Cast) -> None:
    now, day = datetime.now(UTC), date(2026, 10, 5)
    with transaction() as session:
        for number in range(10):
            email = f"u{number}@test.example"
            user = User(email=email, name="U", role=Role.CUSTOMER, created_at=now)
            session.add(user)
            session.flush()
            row = {"user_id": user.id, "meter_id": 1, "day": day, "quantity": 10**18 - 1}
            session.add(UsageDaily(**row, count=1))
    rows = cast.admin.get("/api/v1/usage/summary").get_json()["data"]
    assert rows[0] == {"event": "api_calls", "quantity": 10**19 - 10, "count": 10}


def told(outcome: Outcome) -> str:
    return outcome.error.code if outcome.error else outcome.status


def assert_rollups_equal_records() -> None:
    """Add the records up again, slowly, and compare."""
    db.session.rollback()
    calendar = current_calendar()
    sums: dict[tuple[int, int, date], list[int]] = {}
    for record in db.session.query(UsageRecord):
        key = (record.user_id, record.meter_id, calendar.day_of(record.occurred_at))
        total = sums.setdefault(key, [0, 0])
        total[0] += record.quantity
        total[1] += 1
    rollups = {
        (row.user_id, row.meter_id, row.day): [row.quantity, row.count]
        for row in db.session.query(UsageDaily)
    }
    assert rollups == sums


def test_what_is_no_record_asks_no_database(cast: Cast, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise AssertionError("a writer was asked for")

    monkeypatch.setattr(store, "writing", refuse)
    sent = [Misshapen({"quantity": 0}, InvalidError("quantity: too small"))]
    for is_whole in (False, True):
        (outcome,) = submit(sent, terms=terms(cast.provider), is_whole=is_whole)
        assert (outcome.status, outcome.error) == (Status.REJECTED, sent[0].error)
