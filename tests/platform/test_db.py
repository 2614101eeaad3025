"""`transaction()` is the one way to write; columns keep what they are given."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import psycopg
import pytest
from apiflask import APIFlask
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import IntegrityError, InternalError, StatementError

from billtrack.billing.plans.models import Plan, PlanVersion
from billtrack.platform.config import Settings
from billtrack.platform.db import after_commit, database_now, end_read, exact_decimal, transaction
from billtrack.platform.extensions import db
from billtrack.platform.installation.models import Installation, WorkerHeartbeat
from billtrack.platform.upsert import insert_ignore
from billtrack.usage.records.models import Meter, UsageKey
from tests.effort import times
from tests.usage.racing import in_threads

NOW = datetime(2026, 10, 5, 14, 30, 15, 123456, tzinfo=UTC)


def beats() -> int:
    db.session.rollback()
    return db.session.query(WorkerHeartbeat).count()


def beat(name: str) -> WorkerHeartbeat:
    return WorkerHeartbeat(worker_id=name, started_at=NOW, seen_at=NOW)


def test_it_refuses_orm_writes_outside(app: APIFlask) -> None:
    db.session.add(beat("w"))
    with pytest.raises(RuntimeError, match="inside transaction"):
        db.session.flush()
    db.session.rollback()
    db.session.query(Meter).filter_by(code="api_calls").one().name = "Changed"
    with pytest.raises(RuntimeError, match="inside transaction"):
        db.session.query(Meter).all()
    db.session.rollback()


def test_it_refuses_core_writes_outside(app: APIFlask) -> None:
    for statement in (
        insert(WorkerHeartbeat).values(worker_id="w", started_at=NOW, seen_at=NOW),
        update(Meter).values(name="Changed"),
        delete(Meter),
    ):
        with pytest.raises(RuntimeError, match="inside transaction"):
            db.session.execute(statement)


def test_it_never_stores_what_slips_past_the_session(app: APIFlask) -> None:
    sql = "INSERT INTO worker_heartbeats VALUES ('w', '2026-10-05', '2026-10-05')"
    with suppress(InternalError):  # PostgreSQL refuses it: the transaction only reads
        db.session.execute(text(sql))
    end_read()
    assert beats() == 0


def test_it_stores_all_or_nothing(app: APIFlask) -> None:
    with transaction() as session:
        session.add(beat("first"))

    def write_and_fail(error: BaseException) -> None:
        with transaction() as session:
            session.add(beat("second"))
            session.flush()
            raise error

    for error in (ValueError("ours"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            write_and_fail(error)
    again = insert(WorkerHeartbeat).values(worker_id="first", started_at=NOW, seen_at=NOW)
    with pytest.raises(IntegrityError), transaction() as session:
        session.execute(again)
    assert beats() == 1
    with transaction() as session:
        session.add(beat("after a failure"))
    assert beats() == 2


def test_it_does_not_nest(app: APIFlask) -> None:
    with transaction() as session:
        session.add(beat("outer"))
        with pytest.raises(RuntimeError, match="do not nest"), transaction():
            pass
        session.add(beat("outer 2"))
    assert beats() == 2


def test_it_runs_callbacks_only_once_it_is_stored(app: APIFlask) -> None:
    seen: list[int] = []
    with transaction() as session:
        session.add(beat("w"))
        after_commit(lambda: seen.append(in_threads(app, [beats])[0]))
        assert seen == []
    assert seen == [1]
    with suppress(ValueError), transaction():
        after_commit(lambda: seen.append(-1))
        raise ValueError
    assert seen == [1]
    with pytest.raises(RuntimeError, match="inside transaction"):
        after_commit(lambda: None)


def test_it_lets_a_callback_write(app: APIFlask) -> None:
    def write() -> None:
        with transaction() as session:
            session.add(beat("second"))

    with transaction() as session:
        session.add(beat("first"))
        after_commit(write)
    assert beats() == 2


def test_it_ends_the_snapshot_that_was_read_before(app: APIFlask) -> None:
    assert db.session.query(WorkerHeartbeat).count() == 0

    def write() -> None:
        with transaction() as session:
            session.add(beat("other"))

    in_threads(app, [write])
    with transaction() as session:
        assert session.query(WorkerHeartbeat).count() == 1


def test_it_makes_the_second_writer_wait(app: APIFlask) -> None:
    entered, order = threading.Event(), []

    def first() -> None:
        with transaction() as session:
            row = session.query(Meter).filter_by(code="api_calls").with_for_update().one()
            entered.set()
            time.sleep(0.3)
            row.name += "1"
            order.append("first")

    def second() -> None:
        assert entered.wait(60)
        with transaction() as session:
            row = session.query(Meter).filter_by(code="api_calls").with_for_update().one()
            row.name += "2"
            order.append("second")

    in_threads(app, [first, second])
    assert order == ["first", "second"]
    assert db.session.query(Meter).filter_by(code="api_calls").one().name == "API calls12"


def test_it_loses_no_update(app: APIFlask) -> None:
    def count() -> None:
        for _ in range(times(15)):
            with transaction() as session:
                row = session.query(Meter).filter_by(code="api_calls").with_for_update().one()
                row.display_factor += 1

    in_threads(app, [count] * 4)
    row = db.session.query(Meter).filter_by(code="api_calls").one()
    assert row.display_factor == 1 + 4 * times(15)


def test_it_reads_while_another_writes(app: APIFlask) -> None:
    with transaction() as session:
        session.add(beat("w"))
        session.flush()
        assert in_threads(app, [beats]) == [0]


def test_it_refuses_naive_instants(app: APIFlask) -> None:
    naive = datetime(2026, 10, 5)  # noqa: DTZ001
    with pytest.raises(StatementError, match="time zone"), transaction() as session:
        session.add(WorkerHeartbeat(worker_id="w", started_at=naive, seen_at=naive))
    with pytest.raises(StatementError, match="time zone"):
        db.session.execute(select(WorkerHeartbeat).where(WorkerHeartbeat.seen_at > naive))
    assert beats() == 0


def test_it_keeps_instants_to_the_microsecond_in_utc(app: APIFlask) -> None:
    for hours in (-12, 0, 14):
        local = NOW.astimezone(timezone(timedelta(hours=hours)))
        with transaction() as session:
            session.add(WorkerHeartbeat(worker_id=f"w{hours}", started_at=local, seen_at=local))
        db.session.rollback()
        row = (
            db.session.query(WorkerHeartbeat).filter_by(seen_at=local, worker_id=f"w{hours}").one()
        )
        assert (row.seen_at, row.seen_at.tzinfo) == (NOW, UTC)


DIGITS = [
    "0",
    "0.000000000001",
    "-0.000000000001",
    "123456789012345678.123456789012",
    "0.1",
    "1E+2",
]


def test_it_keeps_every_digit_of_a_decimal(app: APIFlask) -> None:
    with transaction() as session:
        plan = Plan(code="p", name="P", currency="USD", created_at=NOW)
        session.add(plan)
        session.flush()
        for number, digits in enumerate(DIGITS):
            row = PlanVersion(plan_id=plan.id, number=number, created_at=NOW)
            row.base_fee = row.minimum_commitment = Decimal(digits)
            session.add(row)
    db.session.rollback()
    versions = db.session.query(PlanVersion).filter_by(plan_id=plan.id)
    stored = [version.base_fee for version in versions.order_by(PlanVersion.number)]
    assert stored == [Decimal(digits) for digits in DIGITS]
    assert all(isinstance(amount, Decimal) for amount in stored)


def test_it_turns_fractions_into_decimals_only_when_they_are(app: APIFlask) -> None:
    assert exact_decimal(Fraction(1, 10**12)) == Decimal("0.000000000001")
    with pytest.raises(ValueError, match="12 decimal places"):
        exact_decimal(Fraction(1, 3))


def test_it_enforces_constraints(app: APIFlask) -> None:
    for wrong in (
        Installation(id=2, timezone="UTC", created_at=NOW),
        Meter(code="x", name="X", base_unit="x", display_unit="x", display_factor=0),
        Plan(code="standard", name="Again", currency="USD", created_at=NOW),
        PlanVersion(
            plan_id=10**6,
            number=1,
            created_at=NOW,
            base_fee=Decimal(0),
            minimum_commitment=Decimal(0),
        ),
    ):
        with pytest.raises(IntegrityError), transaction() as session:
            session.add(wrong)


def test_it_inserts_what_is_new_and_says_what(app: APIFlask) -> None:
    rows = [{"key_hash": UUID(int=n), "record_id": n, "fingerprint": b"f"} for n in range(4)]
    with transaction():
        assert insert_ignore(UsageKey, rows[:2], returning=UsageKey.record_id) == [0, 1]
        assert insert_ignore(UsageKey, rows[1:3], returning=UsageKey.record_id) == [2]
        assert insert_ignore(UsageKey, rows[:3], returning=UsageKey.record_id) == []


def test_the_shared_clock_tells_an_instant_in_utc(app: APIFlask) -> None:
    before = datetime.now(UTC)
    told = database_now()
    assert told.tzinfo is UTC
    # The server is on this machine here; it goes on within a transaction, too.
    assert before - timedelta(seconds=5) < told < datetime.now(UTC) + timedelta(seconds=5)
    with transaction():
        assert told <= database_now()


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
def test_a_connection_lost_after_the_work_spoils_nothing(app: APIFlask, settings: Settings) -> None:
    with app.app_context():
        pid = db.session.scalar(text("SELECT pg_backend_pid()"))
        with psycopg.connect(settings.sqlalchemy_url.replace("+psycopg", "")) as other:
            ended = other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid]).fetchone()
        assert ended == (True,)
    assert db.session.scalar(select(Meter.code).limit(1)) is not None
