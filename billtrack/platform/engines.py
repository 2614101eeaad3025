"""How connections to a database are made: how many, by which limits, and how they begin.

Behind PgBouncer in transaction mode a connection is another one in each transaction. So all
that a session would remember, prepared statements and settings, ends with its transaction.
"""

from __future__ import annotations

import select
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from sqlalchemy import Connection, Dialect, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry, StaticPool

WRITES = "billtrack_write"
"""The execution option of a connection that is going to write."""

POSTGRESQL_READS = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
"""How connections begin there: one snapshot for all that a request reads, and no writes."""

POSTGRESQL_WRITES = {"isolation_level": "READ COMMITTED", "postgresql_readonly": False}

IDLE_SECONDS = 300
"""How long PostgreSQL waits inside a transaction for the next word: of a frozen process the
locks and the snapshot are let go. The slow reader of an export has as long for 1,000 records."""

NETWORK = {
    "connect_timeout": 5,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
"""When a host that vanished without a word is given up (seconds; the last one milliseconds).
What the address of the database says itself is left as it is."""

RANDOM_PAGE_COST = "1.1"
"""Cost of a page by index beside one in sequence: with PostgreSQL's 4, made for turning disks,
young tables are read whole, by plans that outlive their youth."""

PING_SECONDS = 10.0
"""How long a connection may rest and is still taken for alive, if nothing is heard of its end."""

_USED_AT = "billtrack_used_at"
OUT_OF_TIME = "57014"


@dataclass(frozen=True, slots=True)
class Use:
    """What a process asks of its connections.

    `connections` is how many threads may need one at once; `statement_seconds` how long a
    statement may take, None for as long as it needs. PostgreSQL keeps the limit.
    """

    connections: int
    statement_seconds: int | None = None
    pgbouncer: bool = False


def engine_options(url: str, use: Use) -> dict[str, Any]:
    """Return what the engine needs for this database.

    Errors name no parameters: their text goes into logs, and parameters are people's data.
    """
    if url.startswith("sqlite"):
        return {
            "connect_args": {"isolation_level": None, "timeout": 15, "check_same_thread": False},
            "pool_size": use.connections,
            "hide_parameters": True,
        }
    own = make_url(url).query
    arguments: dict[str, Any] = {name: value for name, value in NETWORK.items() if name not in own}
    if use.pgbouncer:
        arguments["prepare_threshold"] = None  # never prepare
    return {
        "connect_args": arguments,
        "pool_size": use.connections,
        "max_overflow": 0,
        # The connection used last is warm: its statements are prepared, its pages in reach.
        "pool_use_lifo": True,
        "pool_timeout": 15,
        "hide_parameters": True,
        "execution_options": POSTGRESQL_READS,
    }


def prepare_engine(engine: Engine, use: Use) -> None:
    """Make connections begin as `transaction()` promises, and keep the limits."""
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _set_pragmas)
        event.listen(engine, "begin", _begin_on_sqlite)
        return

    def limit_connection(connection: Any, _record: Any) -> None:
        connection.autocommit = True
        connection.execute(limits(use))
        connection.autocommit = False

    def limit_transaction(connection: Connection) -> None:
        # By way of SQLAlchemy, so that a lost connection shows as its error, and as 503.
        connection.exec_driver_sql(limits(use, is_local=True))

    event.listen(engine, "checkin", _note_use)
    event.listen(engine, "checkout", partial(_check, engine.dialect))
    if use.pgbouncer:
        event.listen(engine, "begin", limit_transaction)
    else:
        event.listen(engine, "connect", limit_connection)


def loop_reading_engine(engine: Engine) -> Engine:
    """Return an engine for an event loop to read SQLite with: one connection that never waits.

    Where the database is locked it raises OperationalError at once, and it writes nothing.
    """
    reading = create_engine(
        engine.url,
        connect_args={"isolation_level": None, "timeout": 0, "check_same_thread": False},
        poolclass=StaticPool,
        hide_parameters=True,
    )
    event.listen(reading, "connect", _only_read)
    return reading


def limits(use: Use, *, is_local: bool = False) -> str:
    """Return the statement that sets the limits, and the planner, for session or transaction."""
    seconds = {
        "statement_timeout": use.statement_seconds,
        "idle_in_transaction_session_timeout": IDLE_SECONDS,
    }
    settings = {name: f"{value}s" for name, value in seconds.items() if value is not None}
    settings["random_page_cost"] = RANDOM_PAGE_COST
    parts = (
        f"set_config('{name}', '{value}', {str(is_local).lower()})"
        for name, value in settings.items()
    )
    return f"SELECT {', '.join(parts)}"


def connect_arguments(engine: Engine, use: Use) -> dict[str, Any]:
    """Return what the driver needs for a connection beside those of the engine."""
    _, arguments = engine.dialect.create_connect_args(engine.url)
    own: dict[str, Any] = engine_options(str(engine.url), use)["connect_args"]
    return {**arguments, **own}


def has_arrived(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> bool:
    """Tell whether something came unasked, such as the end of the connection."""
    if connection.closed:
        return True
    watched = select.poll()
    watched.register(connection.fileno(), select.POLLIN)
    return bool(watched.poll(0))


@contextmanager
def sqlite_errors(engine: Engine) -> Iterator[None]:
    """Let what SQLite's own driver raises leave the block as SQLAlchemy's error."""
    try:
        yield
    except sqlite3.Error as error:
        raise DBAPIError.instance(
            None, None, error, sqlite3.Error, dialect=engine.dialect
        ) from error


def ran_out_of_time(error: Exception) -> bool:
    """Tell whether PostgreSQL stopped the statement at its time limit, or at somebody's word."""
    return isinstance(error, DBAPIError) and getattr(error.orig, "sqlstate", "") == OUT_OF_TIME


def _note_use(_connection: Any, record: ConnectionPoolEntry) -> None:
    record.info[_USED_AT] = time.monotonic()


def _check(dialect: Dialect, connection: Any, record: ConnectionPoolEntry, _proxy: Any) -> None:
    """Let nobody begin with a connection that the server has ended meanwhile.

    A question to the server each time takes as long as a small answer. It is only asked when
    the connection was left alone for long, or when something arrived on it unasked, such as
    its end.
    """
    used_at = record.info.get(_USED_AT)
    if used_at is None:  # just made
        return
    if time.monotonic() - used_at < PING_SECONDS and not has_arrived(connection):
        return
    try:
        dialect.do_ping(connection)
    except psycopg.Error as error:
        raise InvalidatePoolError from error


def _set_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    for pragma in (
        *("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"),
        "secure_delete=ON",  # what is erased does not stay in the file
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _only_read(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA query_only=ON")


def _begin_on_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns into a write fails at once when another writer
    # was faster, whatever the busy timeout: writers must ask for the lock when they begin.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
