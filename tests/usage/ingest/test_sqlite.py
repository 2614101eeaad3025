"""Rows written by SQLite's own driver are what the types of the models write."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from apiflask import APIFlask
from sqlalchemy import insert, text

from billtrack.platform.db import transaction
from billtrack.platform.driver import session_driver
from billtrack.platform.extensions import db
from billtrack.usage.ingest.store import sqlite
from billtrack.usage.ingest.store.sqlite import ROWS
from billtrack.usage.records.models import UsageDaily, UsageKey, UsageMonthly, UsageRecord
from billtrack.usage.records.rows import KeyTaken, NewRecord
from tests.cast import Cast

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)

TABLES = ("usage_records", "usage_keys", "usage_daily", "usage_monthly")


def make(cast: Cast, **changes: Any) -> NewRecord:
    record = NewRecord(
        user_id=cast.customer.id,
        meter_id=1,
        quantity=10**15,
        occurred_at=datetime(2026, 3, 29, 1, 30, tzinfo=timezone(timedelta(hours=2))),
        day=date(2026, 3, 29),
        created_at=datetime(2026, 11, 25, 12, 0, 0, 7, tzinfo=UTC),
        recorded_by_id=cast.provider.id,
        idempotency_key="ключ",
        key_hash=bytes(range(16)),
        fingerprint=bytes(range(16, 32)),
        metadata={"region": "Zürich", "n": 1.5, "on": True, "z": 1, "a": "'"},
        origin="org/x",
    )
    return replace(record, **changes)


def stored() -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows as SQLite has them, each value with its type."""
    found = {}
    for table in TABLES:
        names = [row[1] for row in db.session.execute(text(f"PRAGMA table_info({table})"))]
        values = ", ".join(f'"{name}", typeof("{name}")' for name in names)
        rows = db.session.execute(text(f"SELECT {values} FROM {table} ORDER BY 1"))
        found[table] = [tuple(row) for row in rows]
    db.session.rollback()
    return found


def write_by_models(record: NewRecord, record_id: int) -> None:
    values = {
        name: getattr(record, name)
        for name in ("user_id", "meter_id", "quantity", "occurred_at", "created_at")
    }
    more: dict[str, Any] = {
        "recorded_by_id": record.recorded_by_id,
        "idempotency_key": record.idempotency_key,
    }
    if record.metadata is not None:
        more["metadata"] = record.metadata
    assert record.key_hash is not None
    key = {"key_hash": UUID(bytes=record.key_hash), "fingerprint": record.fingerprint}
    own = {"user_id": record.user_id, "meter_id": record.meter_id, "quantity": record.quantity}
    with transaction() as session:
        connection = session.connection()
        row = {"id": record_id, **values, **more, "origin": record.origin}
        connection.execute(insert(UsageRecord), [row])
        connection.execute(insert(UsageKey), [{**key, "record_id": record_id}])
        connection.execute(insert(UsageDaily), [{**own, "day": record.day, "count": 1}])
        connection.execute(insert(UsageMonthly), [{**own, "month": record.day.replace(day=1)}])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"occurred_at": datetime(2026, 1, 1, tzinfo=UTC), "origin": None, "idempotency_key": None},
    ],
)
def test_it_writes_what_the_models_write(
    app: APIFlask, cast: Cast, changes: dict[str, Any]
) -> None:
    record = make(cast, **changes)
    with transaction(), session_driver() as driver:
        assert list(sqlite.append(driver, [record])) == [1]
    by_driver = stored()
    with transaction() as session:
        for table in TABLES:
            session.execute(text(f"DELETE FROM {table}"))
    write_by_models(record, 1)
    assert by_driver == stored()


def test_it_stores_nothing_under_a_key_that_is_used(app: APIFlask, cast: Cast) -> None:
    def append(*records: NewRecord) -> list[int]:
        with transaction(), session_driver() as driver:
            return list(sqlite.append(driver, records))

    assert append(make(cast), make(cast, key_hash=None)) == [1, 2]
    before = stored()
    with pytest.raises(KeyTaken):
        append(make(cast, key_hash=b"n" * 16), make(cast))
    assert stored() == before
    assert append(make(cast, key_hash=b"n" * 16)) == [3]
    assert stored()["usage_daily"][0][8:] == (3 * 10**15, "integer", 3, "integer")


def test_it_writes_each_of_many(app: APIFlask, cast: Cast) -> None:
    count = 2 * ROWS + 7
    records = [
        make(cast, quantity=1 + n, idempotency_key=f"k-{n}", key_hash=bytes([255 - n]) * 16)
        for n in range(count)
    ]
    with transaction(), session_driver() as driver:
        assert list(sqlite.append(driver, records)) == list(range(1, count + 1))
    rows = db.session.execute(
        text(
            "SELECT r.id, quantity, idempotency_key, key_hash FROM usage_records AS r"
            " JOIN usage_keys ON record_id = r.id ORDER BY r.id"
        )
    )
    assert [tuple(row) for row in rows] == [
        (n + 1, one.quantity, one.idempotency_key, one.key_hash) for n, one in enumerate(records)
    ]
