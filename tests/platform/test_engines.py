"""What PostgreSQL allows a connection: time for a statement, time for silence, how many at once."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from apiflask import APIFlask
from sqlalchemy import create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from billtrack.accounts import access
from billtrack.entrypoints.app import create_app
from billtrack.platform.config import WEB_CONNECTIONS
from billtrack.platform.db import transaction
from billtrack.platform.engines import NETWORK, Use, engine_options, loop_reading_engine
from billtrack.platform.extensions import db
from tests.conftest import make_settings
from tests.scenarios.harness import eventually
from tests.services import PostgresServer, start_pgbouncer, unique_name
from tests.usage.racing import in_threads


@pytest.fixture(scope="module", params=["directly", "by PgBouncer"])
def address(request: pytest.FixtureRequest, postgres: PostgresServer) -> Iterator[tuple[str, bool]]:
    """The address of an empty database, and whether PgBouncer stands before it."""
    name = unique_name()
    url = postgres.create_database(name)
    if request.param == "directly":
        yield url, False
    else:
        pool = start_pgbouncer(postgres, pool_size=1)
        yield pool.url_of(name), True
        pool.close()
    postgres.drop_database(name)


@pytest.fixture
def web(address: tuple[str, bool], tmp_path: Path) -> Iterator[APIFlask]:
    """An app as the web server makes it, whose statements may take a second."""
    url, pgbouncer = address
    settings = make_settings(tmp_path, database_url=url, pgbouncer=pgbouncer)
    app = create_app(settings, statement_seconds=1)
    app.add_url_rule("/api/v1/slow", view_func=access.public(slow))
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def slow() -> str:
    db.session.execute(text("SELECT pg_sleep(30)"))
    return "too late"


def limits() -> tuple[str, str]:
    statement = db.session.scalar(text("SHOW statement_timeout"))
    idle = db.session.scalar(text("SHOW idle_in_transaction_session_timeout"))
    return str(statement), str(idle)


def test_a_statement_out_of_time_is_503_and_the_connection_goes_on(web: APIFlask) -> None:
    pid = text("SELECT pg_backend_pid()")
    before = db.session.scalar(pid)
    db.session.rollback()
    (answer,) = in_threads(web, [lambda: web.test_client().get("/api/v1/slow")])
    assert answer.status_code == 503
    assert answer.get_json()["code"] == "statement_timeout"
    assert "pg_sleep" not in answer.get_data(as_text=True)
    assert isinstance(db.engine.pool, QueuePool)
    assert db.engine.pool.checkedout() == 0
    assert db.session.scalar(pid) == before


def test_every_transaction_is_limited(web: APIFlask) -> None:
    assert limits() == ("1s", "5min")
    with transaction():
        assert limits() == ("1s", "5min")
    assert limits() == ("1s", "5min")


def test_the_web_server_takes_the_limit_from_the_settings(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    # In a process of its own: the entry point ties the process to its parent.
    script = (
        "from sqlalchemy import text; from wsgi import app\n"
        "from billtrack.platform.extensions import db\n"
        "with app.app_context(): print(db.session.scalar(text('SHOW statement_timeout')))"
    )
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": postgres.url,
        "BILLTRACK_DATA_DIR": str(tmp_path),
        "BILLTRACK_STATEMENT_SECONDS": "7",
    }
    result = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    # Beside it a thread of the web server may tell that this database has no tables.
    assert "7s" in result.stdout.splitlines(), result.stderr


def test_jobs_and_commands_take_their_time(address: tuple[str, bool], tmp_path: Path) -> None:
    url, pgbouncer = address
    app = create_app(make_settings(tmp_path, database_url=url, pgbouncer=pgbouncer))
    with app.app_context():
        assert limits() == ("0", "5min")
        db.session.remove()
        db.engine.dispose()


def test_silence_inside_a_transaction_is_ended_and_answered_with_503(
    web: APIFlask, postgres: PostgresServer
) -> None:
    def fall_silent() -> str:
        db.session.execute(text("SET LOCAL idle_in_transaction_session_timeout = '50ms'"))
        pid = db.session.scalar(text("SELECT pg_backend_pid()"))
        eventually(lambda: not is_connected(postgres, pid), "the connection is still there")
        db.session.execute(text("SELECT 1"))
        return "too late"

    web.add_url_rule("/api/v1/silent", view_func=access.public(fall_silent))
    (answer,) = in_threads(web, [lambda: web.test_client().get("/api/v1/silent")])
    assert (answer.status_code, answer.get_json()["code"]) == (503, "unavailable")
    assert db.session.scalar(text("SELECT 1")) == 1


def test_no_more_connections_are_opened_than_was_said(
    address: tuple[str, bool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, pgbouncer = address
    app = create_app(make_settings(tmp_path, database_url=url, pgbouncer=pgbouncer), connections=1)
    with app.app_context():
        assert isinstance(db.engine.pool, QueuePool)
        monkeypatch.setattr(db.engine.pool, "_timeout", 0.1)
        db.session.execute(text("SELECT 1"))
        with pytest.raises(PoolTimeout):
            in_threads(app, [lambda: db.session.execute(text("SELECT 1"))])
        db.session.remove()
        db.engine.dispose()


def test_every_thread_of_the_web_server_finds_a_connection(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    app = create_app(make_settings(tmp_path, database_url=postgres.url))
    together = threading.Barrier(WEB_CONNECTIONS)

    def hold() -> None:
        db.session.execute(text("SELECT 1"))
        together.wait(timeout=60)

    in_threads(app, [hold] * WEB_CONNECTIONS)
    with app.app_context():
        db.engine.dispose()


def test_what_the_address_says_about_the_network_stays() -> None:
    own = "postgresql+psycopg://h/d?connect_timeout=60"
    arguments = engine_options(own, Use(1))["connect_args"]
    assert arguments == {
        name: value for name, value in NETWORK.items() if name != "connect_timeout"
    }


def is_connected(server: PostgresServer, pid: int) -> bool:
    with psycopg.connect(server.url) as connection:
        query = "SELECT FROM pg_stat_activity WHERE pid = %s"
        return connection.execute(query, [pid]).fetchone() is not None


def test_an_event_loop_reads_sqlite_without_waiting_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    reading = loop_reading_engine(create_engine(f"sqlite:///{path}"))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("CREATE TABLE things (id INTEGER)")
        with reading.connect() as connection:
            assert connection.scalar(text("PRAGMA busy_timeout")) == 0
            with pytest.raises(OperationalError, match="readonly"):
                connection.execute(text("INSERT INTO things VALUES (1)"))
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(OperationalError, match="locked"), reading.connect() as connection:
            connection.execute(text("SELECT id FROM things"))
    reading.dispose()
