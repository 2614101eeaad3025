"""New records, their keys and their rollups, by SQLite's own driver.

By way of SQLAlchemy each value of each row passes through Python functions that take longer
than storing it. What is written is what the types of `models` would write.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import chain
from typing import Any

from billtrack.usage.instants import as_json_texts
from billtrack.usage.rows import KeyTaken, NewRecord, sums_of_days

_HIGHEST_ID = "SELECT max(id) FROM usage_records"
_INSERT_KEYS = "INSERT INTO usage_keys (key_hash, record_id, fingerprint) VALUES"
_INSERT_RECORDS = """
INSERT INTO usage_records (
    id, user_id, meter_id, quantity, occurred_at, created_at,
    recorded_by_id, idempotency_key, metadata, origin
) VALUES
"""
_UPSERT_ROLLUP = """
INSERT INTO usage_daily AS daily (user_id, meter_id, day, quantity, count) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (user_id, meter_id, day) DO UPDATE
SET quantity = daily.quantity + excluded.quantity, count = daily.count + excluded.count
"""
ROWS = 100
"""Rows of one statement: a statement for each row takes half as long again."""

_LENGTH = len('"2026-11-25T20:46:50.531640Z"')
_KEY_TAKEN = "UNIQUE constraint failed: usage_keys.key_hash"


def append(driver: sqlite3.Connection, records: Sequence[NewRecord]) -> Sequence[int]:
    """Store records that add usage, none that takes back; return their ids, in order.

    Runs inside a transaction that has begun for writing: one writes at a time, so nobody takes
    the same ids. Raises KeyTaken, after which the transaction must end, when one of the keys
    is used.
    """
    highest = driver.execute(_HIGHEST_ID).fetchone()[0] or 0
    ids = range(highest + 1, highest + 1 + len(records))
    try:
        _insert(driver, _INSERT_KEYS, sorted(_key_rows(records, ids)))
    except sqlite3.IntegrityError as error:
        if str(error) == _KEY_TAKEN:
            raise KeyTaken from error
        raise
    _insert(driver, _INSERT_RECORDS, list(_record_rows(records, ids)))
    driver.executemany(_UPSERT_ROLLUP, _rollup_rows(records))
    return ids


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
        )
        for record, record_id, occurred_text in zip(records, ids, occurred_texts, strict=True)
    )


def _rollup_rows(records: Sequence[NewRecord]) -> Iterable[tuple[Any, ...]]:
    return (
        (user_id, meter_id, day.isoformat(), quantity, count)
        for user_id, meter_id, day, quantity, count in sums_of_days(records)
    )


def _texts(instants: Iterable[datetime]) -> list[str]:
    """Return instants as SQLite stores them: UTC, without saying so."""
    return [f"{text[1:11]} {_time_of(text)}" for text in as_json_texts(instants)]


def _time_of(text: str) -> str:
    return text[12:27] if len(text) == _LENGTH else f"{text[12:20]}.000000"
