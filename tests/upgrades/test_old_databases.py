"""Databases of an old version are brought up to date, and nothing of their usage is lost."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from apiflask import APIFlask
from sqlalchemy import func, inspect, select
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.setup.initialise import initialise
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.usage.records.models import (
    MAX_BIGINT,
    MAX_TOTAL,
    UsageDaily,
    UsageKey,
    UsageMonthly,
    UsageRecord,
)
from billtrack.usage.records.verification import verify
from billtrack.usage.sources.models import RejectedRecord
from tests.conftest import make_settings
from tests.schema import schema_of
from tests.services import PostgresServer, unique_name

HERE = Path(__file__).parent
USAGE = "/api/v1/usage/"
NOW = datetime.now(UTC)
PREFIX = "bt_live_"
"""What API keys begin with; facts.json leaves it out, as scanners look for it."""


class Old:
    """A database of the old version, and what was answered there."""

    def __init__(self, kind: str, settings: Settings) -> None:
        self.kind = kind
        self.settings = settings
        self.facts: dict[str, Any] = json.loads((HERE / "facts.json").read_text())[kind]

    def execute(self, *statements: str) -> None:
        """Change something while it is old."""
        url = self.settings.sqlalchemy_url
        if self.kind == "sqlite":
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database, database:
                for statement in statements:
                    database.execute(statement)
            return
        with psycopg.connect(url.replace("+psycopg", "")) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def upgraded(self) -> APIFlask:
        """Bring it up to date and return the app on it."""
        app = create_app(self.settings)
        app.testing = True
        with app.app_context():
            initialise(self.settings, now=NOW)
        return app


@pytest.fixture
def old(settings: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> Old:
    """The old database of the same kind as the new one of `settings`."""
    kind = "sqlite" if settings.sqlalchemy_url.startswith("sqlite") else "postgresql"
    dump = gzip.decompress((HERE / f"old-{kind}.sql.gz").read_bytes()).decode()
    folder = tmp_path / "old"
    folder.mkdir()
    if kind == "sqlite":
        with closing(sqlite3.connect(folder / "billtrack.db")) as database:
            database.executescript(dump)
        return Old(kind, make_settings(folder))
    postgres: PostgresServer = request.getfixturevalue("postgres")
    url = postgres.create_database(unique_name())
    # Commands of psql, which pg_dump writes.
    lines = [line for line in dump.splitlines() if not line.startswith("\\")]
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("\n".join(lines).encode())
    return Old(kind, make_settings(folder, database_url=url))


@pytest.fixture
def upgraded(old: Old) -> Iterator[APIFlask]:
    """The app on the old database, up to date."""
    app = old.upgraded()
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def post(app: APIFlask, key: str, path: str, body: Any) -> TestResponse:
    headers = {"Authorization": f"Bearer {PREFIX}{key}"}
    return app.test_client(use_cookies=False).post(path, json=body, headers=headers)


def differences() -> list[str]:
    found = [one for user in verify(calendar=current_calendar()) for one in user.differences]
    return [str(one) for one in found]


def test_its_usage_is_whole(upgraded: APIFlask) -> None:
    assert differences() == []
    db.session.rollback()
    records = db.session.scalars(select(func.count()).select_from(UsageRecord)).one()
    assert records == 60 + 1 + 6
    with_key = UsageRecord.idempotency_key.is_not(None) | UsageRecord.reverses_id.is_not(None)
    keys = select(func.count()).select_from(UsageKey)
    assert (
        db.session.scalars(keys).one()
        == db.session.scalars(select(func.count()).select_from(UsageRecord).where(with_key)).one()
    )
    assert db.session.scalars(select(func.count()).select_from(RejectedRecord)).one() == 1
    assert db.session.scalars(select(UsageMonthly.ceiling).distinct()).all() == [MAX_TOTAL]


def test_its_keys_are_known(old: Old, upgraded: APIFlask) -> None:
    with_keys = [one for one in old.facts["records"] if "idempotency_key" in one["body"]]
    assert len(with_keys) > 10
    for one in with_keys:
        again = post(upgraded, one["sender"], USAGE, one["body"])
        assert (again.status_code, again.get_json()["id"]) == (200, one["id"])
        other = post(upgraded, one["sender"], USAGE, {**one["body"], "quantity": 999})
        assert (other.status_code, other.get_json()["code"]) == (409, "idempotency_conflict")
    event = upgraded.test_client(use_cookies=False).post(
        f"{USAGE}batch",
        data=json.dumps([old.facts["event"]]),
        content_type="application/cloudevents-batch+json",
        headers={"Authorization": f"Bearer {PREFIX}{old.facts['provider']}"},
    )
    assert event.get_json()["results"][0]["status"] == "duplicate"


def test_its_reversals_are_known(old: Old, upgraded: APIFlask) -> None:
    before = db.session.scalars(select(func.count()).select_from(UsageRecord)).one()
    for one in old.facts["reversals"]:
        again = post(upgraded, old.facts["admin"], f"{USAGE}{one['id']}/reverse", {"reason": "x"})
        assert (again.status_code, again.get_json()["id"]) == (200, one["reversal_id"])
    (record, *_) = [one for one in old.facts["records"] if one["id"] < 20]
    path = f"{USAGE}{record['id']}/reverse"
    answers = [post(upgraded, old.facts["admin"], path, {"reason": "x"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].get_json()["id"] == answers[1].get_json()["id"]
    db.session.rollback()
    assert db.session.scalars(select(func.count()).select_from(UsageRecord)).one() == before + 1
    assert differences() == []


def test_the_database_refuses_a_second_reversal(old: Old, upgraded: APIFlask) -> None:
    # Though nobody can see the first one: its key is taken.
    one = old.facts["reversals"][0]
    with transaction() as session:
        hidden = session.get_one(UsageRecord, one["reversal_id"])
        hidden.reverses_id = None
    answer = post(upgraded, old.facts["admin"], f"{USAGE}{one['id']}/reverse", {"reason": "x"})
    assert answer.status_code == 500


@pytest.mark.parametrize("days", [2, 11])
def test_a_month_beyond_the_limit_shrinks_and_takes_nothing_new(old: Old, days: int) -> None:
    today = NOW.date()
    at = NOW.strftime("%Y-%m-%d 00:00:00.000000") + ("+00" if old.kind == "postgresql" else "")
    user_id, provider_id = old.facts["customer_id"], 3
    held = [date(today.year, today.month, day) for day in range(1, 28) if day != today.day][:days]
    old.execute(
        f"DELETE FROM usage_daily WHERE user_id = {user_id} AND meter_id = 4",
        *(
            f"INSERT INTO usage_daily (user_id, meter_id, day, quantity, count) "
            f"VALUES ({user_id}, 4, '{day}', {10**18}, 1000)"
            for day in held
        ),
        f"INSERT INTO usage_daily (user_id, meter_id, day, quantity, count) "
        f"VALUES ({user_id}, 4, '{today}', {10**15}, 1)",
        "INSERT INTO usage_records (id, user_id, meter_id, quantity, occurred_at, created_at, "
        f"recorded_by_id) VALUES (1000, {user_id}, 4, {10**15}, '{at}', '{at}', {provider_id})",
    )
    app = old.upgraded()
    with app.app_context():
        total = min(days * 10**18 + 10**15, MAX_BIGINT)
        wanted = select(UsageMonthly).where(
            UsageMonthly.user_id == user_id, UsageMonthly.meter_id == 4
        )
        month = db.session.scalars(wanted).one()
        assert (month.quantity, month.ceiling) == (total, total)
        body = {"user_id": user_id, "event": "data_storage", "quantity": 1}
        refused = post(app, old.facts["provider"], USAGE, body)
        assert (refused.status_code, refused.get_json()["code"]) == (422, "quantity_overflow")
        reversal = post(app, old.facts["admin"], f"{USAGE}1000/reverse", {"reason": "too much"})
        assert reversal.status_code == 201
        db.session.rollback()
        month = db.session.scalars(wanted).one()
        assert (month.quantity, month.ceiling) == (total - 10**15, total - 10**15)
        assert post(app, old.facts["provider"], USAGE, body).status_code == 422
        db.session.remove()
        db.engine.dispose()


def test_its_schema_is_that_of_a_new_one(app: APIFlask, upgraded: APIFlask) -> None:
    upgraded_to, made = schema_of(upgraded), schema_of(app)
    assert (upgraded_to - made, made - upgraded_to) == (set(), set())


def test_it_tells_how_many_rows_it_copies(old: Old) -> None:
    with capture_logs() as logs:
        app = old.upgraded()
    with app.app_context():
        daily = db.session.scalars(select(func.count()).select_from(UsageDaily)).one()
        db.session.remove()
        db.engine.dispose()
    rows = {one["table"]: one["rows"] for one in logs if one["event"] == "migration_rows"}
    assert rows.keys() == {"usage_daily", "usage_keys", "usage_records"}
    assert rows["usage_daily"] == daily > 0


def test_it_has_the_partitions(upgraded: APIFlask) -> None:
    names = {name for name in inspect(db.engine).get_table_names() if "usage_keys" in name}
    is_postgresql = db.engine.dialect.name == "postgresql"
    assert len(names) == (17 if is_postgresql else 1)
