"""A SQLite installation arrives in PostgreSQL as it was, to the last digit; or nothing does."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from apiflask import APIFlask
from sqlalchemy import inspect, text, update
from sqlalchemy.exc import SQLAlchemyError

from billtrack.billing.month_totals.models import MonthSummary
from billtrack.billing.plans.models import PlanVersion
from billtrack.core.errors import ConflictError, InvalidError
from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.backups.contents import Contents
from billtrack.entrypoints.backups.moving import Moved, move_to_postgresql
from billtrack.entrypoints.backups.running import IsRunning
from billtrack.platform import audit
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_settings, db, metadata
from billtrack.platform.jobs.models import Job
from billtrack.platform.process import tied_command
from billtrack.usage.ingest.intake import submit_one
from billtrack.usage.records.models import UsageDaily, UsageRecord
from billtrack.usage.records.submissions import UsageInput
from tests.cast import Cast, create_record, create_user, terms
from tests.conftest import make_settings
from tests.entrypoints.backups.worlds import every_row
from tests.scenarios.harness import Running
from tests.services import PostgresServer, unique_name

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
INSTANT = datetime(2026, 10, 25, 0, 59, 59, 999999, tzinfo=UTC)


@pytest.fixture
def target(app: APIFlask, postgres: PostgresServer) -> Iterator[Settings]:
    """Settings that name an empty PostgreSQL."""
    name = unique_name()
    url = postgres.create_database(name)
    yield make_settings(current_settings().data_dir, database_url=url)
    postgres.drop_database(name)


@pytest.fixture
def moved(target: Settings) -> Iterator[APIFlask]:
    """The app on the target; no context is open for it."""
    app = create_app(target)
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()


def move(target: Settings) -> Moved:
    db.session.rollback()
    return move_to_postgresql(current_settings(), target)


def tables_of(app: APIFlask) -> list[str]:
    with app.app_context():
        return inspect(db.engine).get_table_names()


def create_awkward_rows(cast: Cast) -> None:
    """Store what databases like to change: digits, fractions of seconds, letters, nothing."""
    names = ("Ünïcödé 漢字 🧾", "tab\tnew\nline \\N \\. \\\\", "", "'quotes' \"and\" $1")
    for number, name in enumerate(names):
        user = create_user(email=f"awkward-{number}@test.example")
        with transaction() as session:
            session.merge(user).name = name
    record = create_record(cast, quantity=10**15, key="ключ-🔑")
    create_record(cast, quantity=10**15, event="data_storage")
    with transaction() as session:
        row = session.get_one(UsageRecord, record.id)
        row.details = {"a": "ü\n", "b": True, "c": 1.5e10, "d": 2**53 + 1, "e": 0.1, "f": -1.0}
        row.occurred_at = row.occurred_at.replace(microsecond=999_999)
        price = Decimal("99999999999999999999999999.123456789012")
        session.execute(update(PlanVersion).values(base_fee=price, minimum_commitment=Decimal(0)))
        audit.record("a", actor=audit.Actor(address="::1"), now=INSTANT, object_type="b")
        figures = {"none": None, "list": [1, [2, {"x": []}]], "": "empty"}
        session.add(
            MonthSummary(
                month=date(2026, 10, 1),
                covers_through=date(2026, 10, 31),
                taken_at=INSTANT,
                overview=figures,
                customers={},
            )
        )
        # Their sum does not fit into 64 bits.
        for day in range(1, 13):
            session.add(
                UsageDaily(user_id=1, meter_id=4, day=date(2025, 1, day), count=1, quantity=10**18)
            )
    create_jobs_that_name_later_ones()


def create_jobs_that_name_later_ones() -> None:
    base = {"kind": "group", "payload": {}, "created_at": INSTANT, "rung_at": INSTANT}
    with transaction() as session:
        session.add_all([Job(id=70, **base), Job(id=5, **base)])
        session.flush()
        session.execute(update(Job).where(Job.id == 5).values(parent_id=70))


def test_every_row_of_every_table_arrives_as_it_was(
    app: APIFlask, cast: Cast, target: Settings, moved: APIFlask
) -> None:
    create_awkward_rows(cast)
    before = every_row(app)
    result = move(target)
    after = every_row(moved)
    for table in metadata.tables:
        assert after[table] == before[table], table
    assert result.rows == {name: len(rows) for name, rows in before.items()}
    assert result.rows["jobs"] == 2
    # The rollups of 10^18 have no records, nor has their month a sum: they were, and stay, wrong.
    assert len(result.differences) == 12 + 1
    assert result.totals == 5
    foreign_keys = sum(
        key._ddl_if is None  # one is of SQLite alone
        for table in metadata.tables.values()
        for key in table.foreign_key_constraints
    )
    with moved.app_context():
        live = inspect(db.engine)
        assert foreign_keys == sum(len(live.get_foreign_keys(name)) for name in metadata.tables)


def test_what_is_recorded_afterwards_gets_an_id_of_its_own(
    app: APIFlask, cast: Cast, target: Settings, moved: APIFlask
) -> None:
    first = create_record(cast)
    rules, item = terms(cast.provider), UsageInput(cast.customer.id, "api_calls", 1)
    users = [member.id for member in (cast.admin, cast.stranger)]
    assert move(target).differences == []
    with moved.app_context():
        again, is_new = submit_one(item, terms=rules)
        assert create_user(email="new@test.example").id > max(users)
    assert is_new
    assert again.id == first.id + 1


def test_the_source_stays_as_it_is(app: APIFlask, cast: Cast, target: Settings) -> None:
    create_record(cast)
    database = current_settings().data_dir / "billtrack.db"
    before = hashlib.sha256(database.read_bytes()).digest(), every_row(app)
    move(target)
    assert (hashlib.sha256(database.read_bytes()).digest(), every_row(app)) == before


def test_a_database_that_holds_anything_is_refused_and_left_alone(
    cast: Cast, target: Settings, moved: APIFlask
) -> None:
    with moved.app_context(), transaction() as session:
        session.execute(text("CREATE TABLE somebodys (id int)"))
    with moved.app_context():
        db.engine.dispose()
    with pytest.raises(ConflictError, match="holds tables already"):
        move(target)
    assert tables_of(moved) == ["somebodys"]


def test_nothing_is_left_in_the_target_when_a_row_cannot_be_stored(
    cast: Cast, target: Settings, moved: APIFlask
) -> None:
    user = create_user(email="nul@test.example")
    with transaction() as session:
        session.merge(user).name = "a\0b"
    with pytest.raises((SQLAlchemyError, Exception), match="NUL"):
        move(target)
    assert tables_of(moved) == []


def test_what_is_written_meanwhile_is_noticed(
    app: APIFlask, cast: Cast, target: Settings, moved: APIFlask, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_record(cast)
    rules, item = terms(cast.provider), UsageInput(cast.customer.id, "api_calls", 1)
    original = Contents.add

    def add_and_write(self: Contents, row: object) -> None:
        monkeypatch.setattr(Contents, "add", original)
        with app.app_context():
            submit_one(item, terms=rules)
        original(self, row)  # type: ignore[arg-type]

    monkeypatch.setattr(Contents, "add", add_and_write)
    with pytest.raises(IsRunning, match="meanwhile"):
        move(target)
    assert tables_of(moved) == []


def test_it_refuses_while_another_process_has_the_database_open(
    cast: Cast, target: Settings
) -> None:
    path = current_settings().data_dir / "billtrack.db"
    holder = tied_command(["sh", "-c", f"exec 3<{path}; echo open; exec sleep 60"])
    with Running(holder, {"PATH": "/usr/bin:/bin"}) as process:
        process.wait_for("open")
        with pytest.raises(IsRunning, match="Stop billtrack first"):
            move(target)


def test_there_is_no_way_back(cast: Cast, target: Settings, tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="there is no way back"):
        move(make_settings(tmp_path / "other"))
    with create_app(target).app_context():
        with pytest.raises(InvalidError, match="there is no way back"):
            move_to_postgresql(target, target)
        db.engine.dispose()


def test_a_schema_that_is_not_up_to_date_is_refused(cast: Cast, target: Settings) -> None:
    with transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    with pytest.raises(InvalidError, match="billtrack init"):
        move(target)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ((1, '{"a": 1, "b": 2}'), (1, '{"b":2.0,"a":1e0}'), True),
        ((1, '{"a": 1e300}'), (1, f'{{"a": 1{"0" * 300}}}'), True),
        ((1, '{"a": 1}'), (1, '{"a": "1"}'), False),
        ((1, None), (1, "null"), False),
        ((Decimal("0.50"), "{}"), (Decimal("0.500000000000"), "{}"), True),
        ((Decimal("0.50"), "{}"), (Decimal("0.500000000001"), "{}"), False),
        ((INSTANT, "{}"), (INSTANT.replace(microsecond=999998), "{}"), False),
        ((None, "{}"), ("", "{}"), False),
        ((b"\0", "{}"), (b"", "{}"), False),
    ],
)
def test_rows_count_by_what_they_mean(
    one: tuple[object, object], other: tuple[object, object], same: object, settings: Settings
) -> None:
    first, second = Contents(json_at=[1]), Contents(json_at=[1])
    first.add(one)
    second.add(other)
    assert first.equals(second) is same


def test_the_order_of_rows_does_not_count_but_their_number_does(settings: Settings) -> None:
    first, second = Contents(json_at=[]), Contents(json_at=[])
    for value in (1, 2, 2):
        first.add([value])
    for value in (2, 1):
        second.add([value])
    assert not first.equals(second)
    second.add([2])
    assert first.equals(second)
