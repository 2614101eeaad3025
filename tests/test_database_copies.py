"""What one test wrote into its PostgreSQL database, the next one never finds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from billtrack.entrypoints.app import create_app
from billtrack.platform.extensions import db
from tests.cast import create_cast, create_record
from tests.conftest import make_settings
from tests.services import DatabaseCopies, PostgresServer

RELATIONS = (
    "SELECT relname, relkind = 'S' FROM pg_class"
    " WHERE relkind IN ('r', 'S') AND relnamespace = 'public'::regnamespace"
)


@pytest.fixture
def copies(postgres: PostgresServer, postgres_template: str) -> DatabaseCopies:
    """Copies that no other test takes."""
    if not isinstance(postgres, PostgresServer):
        pytest.skip("on a given PostgreSQL nothing is used twice")
    return DatabaseCopies(postgres, postgres_template)


def dump(url: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables, and where the counters stand."""
    with psycopg.connect(url) as connection:
        return {
            name: connection.execute(
                f"SELECT {'last_value, is_called' if counts else '*'} FROM {name}".encode()
            ).fetchall()
            for name, counts in connection.execute(RELATIONS)
        }


def identity(url: str) -> object:
    """Return what stays the same when a database is given another name."""
    with psycopg.connect(url) as connection:
        query = "SELECT oid FROM pg_database WHERE datname = current_database()"
        return connection.execute(query).fetchone()


def test_it_is_as_new_the_second_time(
    copies: DatabaseCopies, postgres: PostgresServer, postgres_template: str, tmp_path: Path
) -> None:
    new = dump(postgres.url_of(postgres_template))
    with copies.taken() as first:
        used = identity(first)
        app = create_app(make_settings(tmp_path, database_url=first))
        with app.app_context():
            create_record(create_cast())
            db.session.remove()  # and stays connected
        assert dump(first) != new
    with copies.taken() as second:
        assert identity(second) == used
        assert dump(second) == new
        assert second != first
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(first)
    with app.app_context():
        db.engine.dispose()


@pytest.mark.parametrize(
    "change",
    [
        "CREATE TABLE another (n int)",
        "DROP TABLE usage_daily",
        "ALTER TABLE meters ALTER COLUMN name DROP NOT NULL",
        "ALTER TABLE audit_entries DISABLE TRIGGER ALL",
        "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET jit = off', current_database()); END$$",
        "INSERT INTO alembic_version SELECT 'version ' || n FROM generate_series(1, 40000) n",
    ],
)
def test_it_is_not_used_again_when_more_than_rows_has_changed(
    copies: DatabaseCopies, postgres: PostgresServer, postgres_template: str, change: str
) -> None:
    with copies.taken() as first:
        used = identity(first)
        with psycopg.connect(first) as connection:
            connection.execute(change.encode())
    with copies.taken() as second:
        assert identity(second) != used
        assert dump(second) == dump(postgres.url_of(postgres_template))
