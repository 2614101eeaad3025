"""SQL on usage records, their keys and their rollups, the same for both databases.

What many records are stored by is each database's own: `one_statement`, `postgresql_batch` and
`sqlite_rows`. Everything that writes runs inside the transaction of `intake` or `verification`.
Rows are written in sorted order, so that two writers meet the same rows in the same order and
never wait for each other in a circle.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from operator import itemgetter
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    SQLColumnExpression,
    bindparam,
    cast,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy import Sequence as SqlSequence
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from billtrack.core.periods import Month
from billtrack.db import insert_ignore
from billtrack.extensions import db
from billtrack.usage.models import UsageDaily, UsageKey, UsageRecord
from billtrack.usage.rows import KeyTaken, NewRecord


@dataclass(frozen=True, slots=True)
class Total:
    """A sum of quantities, base units, and how many records it is made of."""

    quantity: int
    count: int

    def __add__(self, other: Total) -> Total:
        """Return the sum of both."""
        return Total(self.quantity + other.quantity, self.count + other.count)


NOTHING = Total(0, 0)

SLOT = 900
"""Seconds: the clocks of the world are set by quarters of an hour, and days begin there."""

# Built once: building a statement takes longer than running it.
_INSERT_KEY = insert(UsageKey)
_INSERT_RECORD = insert(UsageRecord)
_NEXT_IDS = select(SqlSequence("usage_records_id_seq").next_value()).select_from(
    func.generate_series(1, bindparam("count", type_=Integer)).table_valued()
)
_HIGHEST_ID = select(func.max(UsageRecord.id))

DayKey = tuple[int, int, date]
MonthKey = tuple[int, int, Month]


def append(records: Sequence[NewRecord]) -> list[int]:
    """Store the records and add them to the rollups; return their ids, in order.

    Raises KeyTaken, so that nothing is stored, when another writer has used one of the
    keys in the meantime.
    """
    ids = _next_ids(len(records))
    keys: list[dict[str, Any]] = [
        {"key_hash": record.key_hash, "record_id": record_id, "fingerprint": record.fingerprint}
        for record, record_id in zip(records, ids, strict=True)
        if record.key_hash is not None
    ]
    if keys:
        _insert_keys(sorted(keys, key=itemgetter("key_hash")))
    _insert_records(records, ids)
    _add_to_rollups(records)
    return ids


def recorded_totals(
    user_id: int, *, meter_id: int | None = None
) -> dict[tuple[int, datetime], Total]:
    """Return what the records of a user sum to, by meter and quarter of an hour (its start)."""
    slot = seconds_of(UsageRecord.occurred_at) // SLOT
    query = (
        select(UsageRecord.meter_id, slot, func.sum(UsageRecord.quantity), func.count())
        .where(UsageRecord.user_id == user_id)
        .group_by(UsageRecord.meter_id, slot)
    )
    if meter_id is not None:
        query = query.where(UsageRecord.meter_id == meter_id)
    return {
        (meter, datetime.fromtimestamp(number * SLOT, UTC)): Total(int(quantity), count)
        for meter, number, quantity, count in db.session.execute(query)
    }


def seconds_of(instant: SQLColumnExpression[datetime]) -> ColumnElement[int]:
    """Return the whole seconds of an instant since 1970."""
    if db.session.get_bind().dialect.name == "postgresql":
        seconds: ColumnElement[Any] = func.floor(func.extract("epoch", instant))
    else:
        # Without its fraction, which SQLite would round up into the next second, and day.
        seconds = func.strftime("%s", func.substr(instant, 1, 19))
    return cast(seconds, BigInteger)


def rolled_up_totals(user_id: int) -> dict[tuple[int, date], Total]:
    """Return the rollups of a user by meter and billing day."""
    query = select(UsageDaily.meter_id, UsageDaily.day, UsageDaily.quantity, UsageDaily.count)
    rows = db.session.execute(query.where(UsageDaily.user_id == user_id))
    return {(meter, day): Total(quantity, count) for meter, day, quantity, count in rows}


def lock_rollups(user_id: int, meter_id: int, days: Sequence[date]) -> None:
    """Make other writers wait for these rollups, which are there afterwards."""
    rows = [
        {"user_id": user_id, "meter_id": meter_id, "day": day, "quantity": 0, "count": 0}
        for day in sorted(days)
    ]
    insert_ignore(UsageDaily, rows, returning=UsageDaily.day)
    own = (UsageDaily.user_id == user_id, UsageDaily.meter_id == meter_id)
    locked = select(UsageDaily.day).where(*own, UsageDaily.day.between(min(days), max(days)))
    db.session.execute(locked.order_by(UsageDaily.day).with_for_update())


def set_rollups(user_id: int, meter_id: int, totals: Mapping[date, Total]) -> None:
    """Write these sums into rollups that are locked; one of nothing is removed."""
    for day, total in totals.items():
        row = (
            UsageDaily.user_id == user_id,
            UsageDaily.meter_id == meter_id,
            UsageDaily.day == day,
        )
        if total == NOTHING:
            db.session.execute(delete(UsageDaily).where(*row))
        else:
            values = {"quantity": total.quantity, "count": total.count}
            db.session.execute(update(UsageDaily).where(*row).values(**values))


def _next_ids(count: int) -> list[int]:
    # The ids are taken before anything is written: a key is stored with its record's id.
    if db.session.get_bind().dialect.name == "postgresql":
        return list(db.session.scalars(_NEXT_IDS, {"count": count}))
    # BEGIN IMMEDIATE lets one writer in at a time, so nobody takes the same ids.
    highest = db.session.scalar(_HIGHEST_ID) or 0
    return list(range(highest + 1, highest + 1 + count))


def _insert_keys(rows: Sequence[dict[str, Any]]) -> None:
    try:
        db.session.connection().execute(_INSERT_KEY, rows)
    except IntegrityError as error:
        raise KeyTaken from error


def _insert_records(records: Sequence[NewRecord], ids: Sequence[int]) -> None:
    rows = [
        {
            "id": record_id,
            "user_id": record.user_id,
            "meter_id": record.meter_id,
            "quantity": record.quantity,
            "occurred_at": record.occurred_at,
            "created_at": record.created_at,
            "recorded_by_id": record.recorded_by_id,
            "idempotency_key": record.idempotency_key,
            "metadata": record.metadata,
            "reverses_id": record.reverses_id,
            "reason": record.reason,
            "origin": record.origin,
        }
        for record, record_id in zip(records, ids, strict=True)
    ]
    db.session.connection().execute(_INSERT_RECORD, rows)


def _add_to_rollups(records: Sequence[NewRecord]) -> None:
    sums: dict[DayKey, list[int]] = defaultdict(lambda: [0, 0])
    for record in records:
        total = sums[record.user_id, record.meter_id, record.day]
        total[0] += record.quantity
        total[1] += 1
    rows: list[dict[str, Any]] = [
        {"user": key[0], "meter": key[1], "on": key[2], "added": added, "records": count}
        for key, (added, count) in sorted(sums.items())
    ]
    # What takes away finds its row: the usage that it takes back was added there.
    taken = [row for row in rows if row["added"] < 0]
    given = [row for row in rows if row["added"] >= 0]
    connection = db.session.connection()
    if given:
        connection.execute(_UPSERTS[connection.dialect.name], given)
    if taken:
        connection.execute(_SUBTRACT, taken)


def _upsert(dialect: str) -> Any:
    insert_into = postgresql.insert if dialect == "postgresql" else sqlite.insert
    statement = insert_into(UsageDaily).values(
        user_id=bindparam("user"),
        meter_id=bindparam("meter"),
        day=bindparam("on"),
        quantity=bindparam("added"),
        count=bindparam("records"),
    )
    return statement.on_conflict_do_update(
        index_elements=["user_id", "meter_id", "day"],
        set_={
            "quantity": UsageDaily.quantity + statement.excluded.quantity,
            "count": UsageDaily.count + statement.excluded.count,
        },
    )


_UPSERTS = {name: _upsert(name) for name in ("postgresql", "sqlite")}

_SUBTRACT = (
    update(UsageDaily)
    .where(
        UsageDaily.user_id == bindparam("user"),
        UsageDaily.meter_id == bindparam("meter"),
        UsageDaily.day == bindparam("on"),
    )
    .values(
        quantity=UsageDaily.quantity + bindparam("added"),
        count=UsageDaily.count + bindparam("records"),
    )
)
