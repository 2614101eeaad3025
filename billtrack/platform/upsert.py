"""Upserts: INSERT … ON CONFLICT in the dialect of the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, CursorResult
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import InstrumentedAttribute

from billtrack.platform.db import Base
from billtrack.platform.extensions import db


def insert_ignore(
    model: type[Base], rows: Sequence[dict[str, Any]], *, returning: InstrumentedAttribute[Any]
) -> list[Any]:
    """Insert the rows whose keys are new; return one column of those that were inserted.

    On PostgreSQL it waits for a row that another transaction is inserting.
    """
    statement = _insert(model).on_conflict_do_nothing().returning(returning)
    return list(db.session.scalars(statement, rows))


def upsert(
    model: type[Base],
    rows: Sequence[Mapping[str, Any]],
    *,
    key: Sequence[str],
    changes: Callable[[Any], Mapping[str, Any]],
    where: Callable[[Any], ColumnElement[bool]] | None = None,
    returning: Sequence[InstrumentedAttribute[Any]] = (),
) -> CursorResult[Any]:
    """Insert the rows; update a row whose `key` is taken, if `where` holds for it.

    `changes` and `where` are given `excluded`, the row that was sent. Two writers of the same keys
    deadlock unless both send their rows in the same order.
    """
    insert = _insert(model)
    update = insert.on_conflict_do_update(
        index_elements=key,
        set_=changes(insert.excluded),
        where=None if where is None else where(insert.excluded),
    )
    statement = update.returning(*returning) if returning else update
    return db.session.connection().execute(statement, [dict(row) for row in rows])


def _insert(model: type[Base]) -> postgresql.Insert | sqlite.Insert:
    dialect = db.session.get_bind().dialect.name
    return postgresql.insert(model) if dialect == "postgresql" else sqlite.insert(model)
