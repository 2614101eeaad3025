"""Single statements, as things stand: beside the session and its snapshot, quicker than by it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, cast

import psycopg
from pydantic_core import to_json
from sqlalchemy import Engine, Executable
from sqlalchemy.exc import DBAPIError

from billtrack.platform.engines import sqlite_errors
from billtrack.platform.extensions import db

Driver = psycopg.Connection[tuple[Any, ...]]
"""A connection of the PostgreSQL driver, without SQLAlchemy around it."""


def read_now(
    statement: Executable, parameters: Mapping[str, Any], engine: Engine | None = None
) -> Sequence[Any]:
    """Return the rows of one statement as things stand, whatever the session's snapshot is."""
    with (engine or db.engine).connect() as connection:
        if is_postgresql():
            # Without BEGIN and ROLLBACK around it, each a way to the server and back.
            connection.execution_options(isolation_level="AUTOCOMMIT")
        return connection.execute(statement, parameters).all()


def ask_driver(statement: str, parameters: Mapping[str, Any]) -> Sequence[Any]:
    """Return the rows of one query as things stand (PostgreSQL); values are the driver's."""
    with single_statements() as driver:
        return driver.execute(statement.encode(), parameters).fetchall()


def ask_sqlite(
    statement: str, values: Sequence[Any], engine: Engine | None = None
) -> Sequence[Any]:
    """Return the rows of one query as things stand (SQLite); values are the driver's."""
    engine = engine or db.engine
    with sqlite_errors(engine), closing(engine.raw_connection()) as pooled:
        driver = cast("sqlite3.Connection", pooled.driver_connection)
        return driver.execute(statement, values).fetchall()


@contextmanager
def session_driver() -> Iterator[sqlite3.Connection]:
    """Give the session's own connection to SQLite, inside the transaction that it is in.

    What the driver raises leaves the block as SQLAlchemy's error.
    """
    connection = db.session.connection().connection
    with sqlite_errors(db.engine):
        yield cast("sqlite3.Connection", connection.driver_connection)


def truncate_log() -> None:
    """Move what SQLite's log still holds into the database, so that nothing old stays in it.

    While others read, as much as can be. PostgreSQL does so by itself.
    """
    if db.engine.dialect.name != "sqlite":
        return
    with closing(db.engine.raw_connection()) as connection:
        connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def as_json(rows: Sequence[Any]) -> str:
    """Return rows as PostgreSQL reads them from one text."""
    return to_json(rows).decode()


def is_postgresql() -> bool:
    """Tell whether the primary is PostgreSQL, and not SQLite."""
    return db.engine.dialect.name == "postgresql"


@contextmanager
def session_statements() -> Iterator[Driver]:
    """Give the session's own connection to PostgreSQL, inside the transaction that it is in.

    What the driver raises leaves the block as SQLAlchemy's error.
    """
    connection = db.session.connection().connection
    try:
        yield cast("Driver", connection.driver_connection)
    except psycopg.Error as error:
        raise _as_database_error(error, is_lost=bool(connection.closed)) from error


@contextmanager
def single_statements() -> Iterator[Driver]:
    """Give a connection to PostgreSQL on which each statement is a transaction by itself.

    Saves BEGIN and COMMIT, each a way to the server and back; and it is the driver's own
    connection, as by way of SQLAlchemy a small statement takes twice as long. A statement that
    changes several tables changes all of them or none. What the driver raises leaves the block
    as SQLAlchemy's error.
    """
    driver: Driver | None = None
    try:
        with closing(db.engine.raw_connection()) as pooled:
            driver = cast("Driver", pooled.driver_connection)
            driver.autocommit = True
            try:
                yield driver
            finally:
                if driver.closed:
                    pooled.invalidate()
                else:
                    driver.autocommit = False
    except psycopg.Error as error:
        is_lost = driver is None or driver.closed
        raise _as_database_error(error, is_lost=is_lost) from error


def _as_database_error(error: psycopg.Error, *, is_lost: bool) -> Exception:
    return DBAPIError.instance(
        None,
        None,
        error,
        psycopg.Error,
        connection_invalidated=is_lost,
        dialect=db.engine.dialect,
    )
