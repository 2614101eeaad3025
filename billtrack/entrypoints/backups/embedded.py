"""SQLite by its own online backup."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine

from billtrack.core.errors import BilltrackError, ConflictError
from billtrack.entrypoints.backups.totals import Facts, read_facts
from billtrack.platform.extensions import db


class DatabaseDamaged(BilltrackError):
    """SQLite finds its own file in disorder."""

    code = "database_damaged"


def snapshot(target: Path) -> Facts:
    """Copy the database as it is at one instant, and return what the copy holds.

    In one step: it reads one snapshot of the write-ahead log, waits for no writer and lets
    none wait. In several steps each write of another process would begin it anew.
    """
    with closing(sqlite3.connect(target)) as copy:
        with db.engine.connect() as connection:
            source: Any = connection.connection.driver_connection
            source.backup(copy, pages=-1)
        make_one_file(copy)
    engine = create_engine(f"sqlite:///{target}", poolclass=NullPool)
    with engine.connect() as connection:
        return read_facts(connection)


def make_one_file(database: sqlite3.Connection) -> None:
    """Leave no log beside the file; raises DatabaseDamaged when what it holds is not in order."""
    database.execute("PRAGMA journal_mode=DELETE")
    (answer,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise DatabaseDamaged(f"The database is damaged: {answer}. Restore the last good backup.")
    if dangling := database.execute("PRAGMA foreign_key_check").fetchone():
        raise DatabaseDamaged(
            f"The database is damaged: row {dangling[1]} of {dangling[0]} names a row of "
            f"{dangling[2]} that is not there."
        )


def require_free(path: Path) -> None:
    """Raise ConflictError unless there is no database at this path, or one without any table."""
    if path.exists() and _has_tables(path):
        raise ConflictError(
            f"{path} holds a database already, and a backup is restored into an empty installation "
            "only. Move it away, or set BILLTRACK_DATA_DIR to another folder."
        )
    for suffix in ("-wal", "-journal"):
        log = path.with_name(path.name + suffix)
        # SQLite would take it for changes to the database that is put beside it.
        if log.exists() and log.stat().st_size:
            raise ConflictError(f"{log} is left of another database. Move it away first.")


def _has_tables(path: Path) -> bool:
    try:
        with closing(sqlite3.connect(path)) as database:
            return database.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
    except sqlite3.DatabaseError:
        return True  # whatever it is, it is somebody's
