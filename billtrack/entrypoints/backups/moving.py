"""Move an installation from SQLite to PostgreSQL: every row, compared one by one.

The target is filled in one transaction, which ends only if both databases hold the same.
Tables and columns are those of the models, so that a new table is moved without a word here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from flask_migrate import upgrade
from sqlalchemy import JSON, Connection, Select, Table, Text, cast, func, select, text

from billtrack.core.errors import BilltrackError, InvalidError
from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.backups import postgresql
from billtrack.entrypoints.backups.contents import Contents
from billtrack.entrypoints.backups.running import IsRunning, require_stopped
from billtrack.entrypoints.backups.totals import recorded_totals, rolled_up_totals
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db, metadata
from billtrack.platform.installation.parts import get_database_state
from billtrack.usage.records.verification import Finding, verify

AT_ONCE = 5_000
"""Rows in memory at the same time."""

FOREIGN_KEYS = """SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid)
    FROM pg_constraint WHERE contype = 'f' AND conparentid = 0
    AND connamespace = current_schema()::regnamespace"""


class CopyDiffers(BilltrackError):
    """PostgreSQL holds something else than SQLite."""

    code = "copy_differs"


@dataclass(frozen=True, slots=True)
class Moved:
    """What was moved: rows by table, usage totals compared, rollups that differ from records."""

    rows: dict[str, int]
    totals: int
    users: int
    rollups: int
    differences: Sequence[Finding]


def move_to_postgresql(source: Settings, target: Settings) -> Moved:
    """Fill the empty database of `target` with all that `source` holds; needs its app context.

    Nothing on the source changes. Whatever goes wrong, the target is left without a table.
    Raises InvalidError, ConflictError and CopyDiffers.
    """
    is_forth = db.engine.dialect.name == "sqlite" and target.sqlalchemy_url.startswith("postgresql")
    if not is_forth:
        raise InvalidError(
            "billtrack db copy moves from SQLite to PostgreSQL only; there is no way back. "
            "DATABASE_URL must name the SQLite database, or nothing, and --to PostgreSQL."
        )
    if not get_database_state().is_current:
        raise InvalidError("The schema is not up to date: run billtrack init first.")
    db.session.rollback()
    require_stopped(source.data_dir)
    watcher = closing(sqlite3.connect(str(db.engine.url.database)))
    with watcher as watched, db.engine.connect() as snapshot, create_app(target).app_context():
        try:
            return _move(snapshot, watched)
        finally:
            db.session.remove()
            db.engine.dispose()


def _move(source: Connection, watched: sqlite3.Connection) -> Moved:
    with db.engine.connect() as connection:
        postgresql.require_free(connection)
    version = _data_version(watched)
    try:
        upgrade()
        with transaction() as session:
            rows = _fill(source, session.connection())
            totals = _require_same_totals(source, session.connection())
            _require_unchanged(watched, version)
        checked = list(verify(calendar=current_calendar()))
    except BaseException:
        db.session.remove()
        postgresql.empty()
        raise
    wrong = [difference for user in checked for difference in user.differences]
    return Moved(rows, totals, len(checked), sum(user.rollups for user in checked), wrong)


def _require_unchanged(watched: sqlite3.Connection, version: int) -> None:
    # What was recorded after the snapshot would be missing from bills.
    if _data_version(watched) != version:
        raise IsRunning(
            "Something was written to the source meanwhile. Stop billtrack and repeat it."
        )


def _data_version(database: sqlite3.Connection) -> int:
    """Return a number that changes with every commit of others."""
    (version,) = database.execute("PRAGMA data_version").fetchone()
    return int(version)


def _fill(source: Connection, target: Connection) -> dict[str, int]:
    """Copy all tables without their foreign keys, which are proved at once in the end.

    One by one they would make PostgreSQL remember every row until the end of its table, and
    refuse a row that names a later one of its own table.
    """
    foreign_keys = target.execute(text(FOREIGN_KEYS)).all()
    for table, name, _ in foreign_keys:
        target.execute(text(f"ALTER TABLE {table} DROP CONSTRAINT {name}"))
    tables = metadata.sorted_tables
    names = ", ".join(_quoted(table, target) for table in tables)
    target.execute(text(f"TRUNCATE {names}"))  # migrations may have put something in
    rows = {table.name: _copy(table, source, target) for table in tables}
    for table, name, definition in foreign_keys:
        target.execute(text(f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"))
    for table in tables:
        _set_sequences(table, target)
    return rows


def _copy(table: Table, source: Connection, target: Connection) -> int:
    """Copy one table, compare what arrived, and return the number of its rows."""
    driver: Any = target.connection.driver_connection
    quote = target.dialect.identifier_preparer.quote
    columns = ", ".join(quote(column.name) for column in table.columns)
    json_at = [at for at, column in enumerate(table.columns) if isinstance(column.type, JSON)]
    sent, arrived = Contents(json_at=json_at), Contents(json_at=json_at)
    with (
        driver.cursor() as cursor,
        cursor.copy(f"COPY {_quoted(table, target)} ({columns}) FROM STDIN") as copy,
    ):
        for row in _rows(table, source):
            sent.add(row)
            copy.write_row(row)
    for row in _rows(table, target):
        arrived.add(row)
    if not sent.equals(arrived):
        raise CopyDiffers(f"The rows of {table.name} did not arrive as they were.")
    return sent.rows


def _rows(table: Table, connection: Connection) -> Any:
    return connection.execute(_query(table), execution_options={"yield_per": AT_ONCE})


def _query(table: Table) -> Select[Any]:
    # JSON as the text that it is: read as a value, its null would be taken for none at all.
    return select(*(cast(c, Text) if isinstance(c.type, JSON) else c for c in table.columns))


def _set_sequences(table: Table, target: Connection) -> None:
    for column in table.primary_key.columns:
        found = func.pg_get_serial_sequence(_quoted(table, target), column.name)
        if sequence := target.scalar(select(found)):
            highest = func.max(column)
            start = func.setval(sequence, func.coalesce(highest, 1), highest.is_not(None))
            target.execute(select(start))


def _require_same_totals(source: Connection, target: Connection) -> int:
    """Compare what every user used of every event; return how many totals are equal."""
    count = 0
    for what, totals in (("records", recorded_totals), ("rollups", rolled_up_totals)):
        before, after = totals(source), totals(target)
        if before != after:
            raise CopyDiffers(f"The {what} do not sum up to what they did.")
        count += len(before)
    return count


def _quoted(table: Table, target: Connection) -> str:
    return target.dialect.identifier_preparer.format_table(table)
