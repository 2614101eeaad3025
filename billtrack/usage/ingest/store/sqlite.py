"""Records, their keys and their rollups, by SQLite's own driver.

By way of SQLAlchemy each value of each row passes through Python functions that take longer
than storing it. What is written is what the types of `models` would write.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any

from billtrack.platform.db import driver_transaction
from billtrack.platform.driver import session_driver
from billtrack.usage.ingest.facts import Facts
from billtrack.usage.ingest.store.sqlite_lookup import find_facts
from billtrack.usage.records.instants import as_json_texts
from billtrack.usage.records.rows import (
    KeyTaken,
    MonthFull,
    NewRecord,
    sums_of_days,
    sums_of_months,
)

_HIGHEST_ID = "SELECT max(id) FROM usage_records"
_INSERT_KEYS = "INSERT INTO usage_keys (key_hash, record_id, fingerprint) VALUES"
_INSERT_RECORDS = """
INSERT INTO usage_records (
    id, user_id, meter_id, quantity, occurred_at, created_at,
    recorded_by_id, idempotency_key, metadata, origin, variant, reverses_id, reason
) VALUES
"""
_UPSERT_ROLLUP = """
INSERT INTO usage_daily AS daily (user_id, meter_id, variant, day, quantity, count)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (user_id, meter_id, variant, day) DO UPDATE
SET quantity = daily.quantity + excluded.quantity, count = daily.count + excluded.count
"""
_UPSERT_MONTH = """
INSERT INTO usage_monthly AS monthly (user_id, meter_id, month, quantity) VALUES (?, ?, ?, ?)
ON CONFLICT (user_id, meter_id, month) DO UPDATE
SET quantity = monthly.quantity + excluded.quantity
"""
# What takes usage away finds its rows: they were written when the usage was added. A month beyond
# the limit, from before there was a constraint, does not grow again.
_SUBTRACT_FROM_MONTH = """
UPDATE usage_monthly
SET quantity = quantity + ?, ceiling = max(quantity + ?, 1000000000000000000)
WHERE user_id = ? AND meter_id = ? AND month = ?
"""
_SUBTRACT_FROM_DAY = """
UPDATE usage_daily SET quantity = quantity + ?, count = count + 1
WHERE user_id = ? AND meter_id = ? AND variant = ? AND day = ?
"""
ROWS = 100
"""Rows of one statement: a statement for each row takes half as long again."""

_LENGTH = len('"2026-11-25T20:46:50.531640Z"')
_KEY_TAKEN = "UNIQUE constraint failed: usage_keys.key_hash"
_MONTH_FULL = "CHECK constraint failed: ck_usage_monthly_quantity"


class Writer:
    """Looks up and stores in one transaction: one writes at a time, and nobody in between."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self.may_be_stored = False
        self._driver = driver
        self.look_up = partial(find_facts, driver)

    def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        """Store records that add usage; see `store.Writer`."""
        ids = append(self._driver, records)
        self.may_be_stored = True
        return ids


@contextmanager
def writing() -> Iterator[Writer]:
    """Give a writer."""
    with driver_transaction() as driver:
        yield Writer(driver)


@contextmanager
def reading() -> Iterator[partial[Facts]]:
    """Give what looks up facts."""
    with session_driver() as driver:
        yield partial(find_facts, driver)


def append_reversal(record: NewRecord) -> int:
    """Store a record that takes usage away, in the session's transaction; see `store`."""
    with session_driver() as driver:
        ids = _next_ids(driver, 1)
        place = record.user_id, record.meter_id
        month = record.day.replace(day=1).isoformat()
        with _conflicts():
            _insert(driver, _INSERT_KEYS, list(_key_rows([record], ids)))
            _insert(driver, _INSERT_RECORDS, list(_record_rows([record], ids)))
            driver.execute(_SUBTRACT_FROM_MONTH, (*[record.quantity] * 2, *place, month))
            day = record.variant, record.day.isoformat()
            driver.execute(_SUBTRACT_FROM_DAY, (record.quantity, *place, *day))
    return ids[0]


def append(driver: sqlite3.Connection, records: Sequence[NewRecord]) -> Sequence[int]:
    """Store records that add usage, in a transaction that has begun for writing; return their ids.

    Raises KeyTaken and MonthFull, after which the transaction has to end.
    """
    ids = _next_ids(driver, len(records))
    with _conflicts():
        _add_to_rollups(driver, records)
        _insert(driver, _INSERT_RECORDS, list(_record_rows(records, ids)))
        _insert(driver, _INSERT_KEYS, sorted(_key_rows(records, ids)))
    return ids


def _next_ids(driver: sqlite3.Connection, count: int) -> Sequence[int]:
    """Return ids that nobody else takes in this transaction, which has begun for writing."""
    highest = driver.execute(_HIGHEST_ID).fetchone()[0] or 0
    return range(highest + 1, highest + 1 + count)


@contextmanager
def _conflicts() -> Iterator[None]:
    """Let what another writer was faster with leave the block as KeyTaken or MonthFull."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        if str(error) == _KEY_TAKEN:
            raise KeyTaken from error
        if str(error) == _MONTH_FULL:
            raise MonthFull from error
        raise


def _insert(driver: sqlite3.Connection, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    if not rows:
        return
    row = f"({','.join('?' * len(rows[0]))})"
    whole = len(rows) - len(rows) % ROWS
    many = f"{statement} {','.join([row] * ROWS)}"
    for start in range(0, whole, ROWS):
        driver.execute(many, list(chain.from_iterable(rows[start : start + ROWS])))
    driver.executemany(f"{statement} {row}", rows[whole:])


def _key_rows(records: Sequence[NewRecord], ids: Sequence[int]) -> Iterable[tuple[Any, ...]]:
    return (
        (record.key_hash, record_id, record.fingerprint)
        for record, record_id in zip(records, ids, strict=True)
        if record.key_hash is not None
    )


def _record_rows(records: Sequence[NewRecord], ids: Sequence[int]) -> Iterable[tuple[Any, ...]]:
    # Of those that are sent together all are created at the same instant.
    created = {record.created_at for record in records}
    created_texts = dict(zip(created, _texts(created), strict=True))
    occurred_texts = _texts([record.occurred_at for record in records])
    return (
        (
            record_id,
            record.user_id,
            record.meter_id,
            record.quantity,
            occurred_text,
            created_texts[record.created_at],
            record.recorded_by_id,
            record.idempotency_key,
            json.dumps(record.metadata) if record.metadata else None,
            record.origin,
            record.variant,
            record.reverses_id,
            record.reason,
        )
        for record, record_id, occurred_text in zip(records, ids, occurred_texts, strict=True)
    )


def _add_to_rollups(driver: sqlite3.Connection, records: Sequence[NewRecord]) -> None:
    days = sums_of_days(records)
    months = sums_of_months(days)
    driver.executemany(
        _UPSERT_MONTH, [(user, meter, on.isoformat(), added) for user, meter, on, added in months]
    )
    driver.executemany(
        _UPSERT_ROLLUP,
        [(user, meter, kind, on.isoformat(), *total) for user, meter, kind, on, *total in days],
    )


def _texts(instants: Iterable[datetime]) -> list[str]:
    """Return instants as SQLite stores them: UTC, without saying so."""
    return [f"{text[1:11]} {_time_of(text)}" for text in as_json_texts(instants)]


def _time_of(text: str) -> str:
    return text[12:27] if len(text) == _LENGTH else f"{text[12:20]}.000000"
