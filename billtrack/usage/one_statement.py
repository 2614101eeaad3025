"""New records, their keys and their rollups in a single statement (PostgreSQL).

Four statements, each by way of SQLAlchemy and the network, take longer than what they do. The
rows travel as one JSON text, in a third of the time that an array for each column takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.errors import UniqueViolation
from pydantic_core import to_json

from billtrack.direct import Driver
from billtrack.usage.rows import KeyTaken, NewRecord

_KEYS = "pk_usage_keys"

# What is stored, as `given`, and storing what is `sent`: parts of a statement.
# Keys and rollups are each written in sorted order, so that two writers never wait for each
# other in a circle. A key that is taken fails the statement, and with it all of its parts.
GIVEN = """
    FROM ROWS FROM (
        json_to_recordset(%(rows)s::json) AS (
            user_id bigint, meter_id integer, quantity bigint, occurred_at timestamptz, day date,
            created_at timestamptz, recorded_by_id bigint, idempotency_key text, key_hash bytea,
            fingerprint bytea, metadata jsonb, origin text
        )
    ) WITH ORDINALITY AS given (
        user_id, meter_id, quantity, occurred_at, day,
        created_at, recorded_by_id, idempotency_key, key_hash,
        fingerprint, metadata, origin, position
    )
"""
STORE = """
claimed AS (
    INSERT INTO usage_keys (key_hash, record_id, fingerprint)
    SELECT key_hash, id, fingerprint FROM sent WHERE key_hash IS NOT NULL ORDER BY key_hash
), records AS (
    INSERT INTO usage_records (
        id, user_id, meter_id, quantity, occurred_at, created_at,
        recorded_by_id, idempotency_key, metadata, origin
    )
    SELECT id, user_id, meter_id, quantity, occurred_at, created_at,
        recorded_by_id, idempotency_key, metadata, origin
    FROM sent
), rollups AS (
    INSERT INTO usage_daily AS daily (user_id, meter_id, day, quantity, count)
    SELECT user_id, meter_id, day, sum(quantity), count(*) FROM sent
    GROUP BY user_id, meter_id, day ORDER BY user_id, meter_id, day
    ON CONFLICT (user_id, meter_id, day) DO UPDATE
    SET quantity = daily.quantity + excluded.quantity, count = daily.count + excluded.count
)
"""
_APPEND = f"""
WITH sent AS MATERIALIZED (
    SELECT nextval('usage_records_id_seq') AS id, given.* {GIVEN}
), {STORE}
SELECT id FROM sent ORDER BY position
"""  # noqa: S608 (all of its parts are ours)


def append(driver: Driver, records: Sequence[NewRecord]) -> list[int]:
    """Store records that add usage, none that takes back; return their ids, in order.

    All of them are stored, or none. Raises KeyTaken when another writer has used one of the
    keys in the meantime.
    """
    rows = as_json([as_row(record) for record in records])
    try:
        return [record_id for (record_id,) in driver.execute(_APPEND, {"rows": rows})]
    except UniqueViolation as error:
        if is_taken_key(error):
            raise KeyTaken from error
        raise


def is_taken_key(error: psycopg.Error) -> bool:
    """Tell whether another writer has used one of the keys."""
    return isinstance(error, UniqueViolation) and error.diag.constraint_name == _KEYS


def as_row(record: NewRecord) -> dict[str, Any]:
    """Return a record as the statement takes it."""
    return {
        "user_id": record.user_id,
        "meter_id": record.meter_id,
        "quantity": record.quantity,
        "occurred_at": record.occurred_at,
        "day": record.day,
        "created_at": record.created_at,
        "recorded_by_id": record.recorded_by_id,
        "idempotency_key": record.idempotency_key,
        "key_hash": as_bytea(record.key_hash),
        "fingerprint": as_bytea(record.fingerprint),
        "metadata": record.metadata or None,
        "origin": record.origin,
    }


def as_json(rows: Sequence[Any]) -> str:
    """Return rows as PostgreSQL reads them from one text."""
    return to_json(rows).decode()


def as_bytea(value: bytes | None) -> str | None:
    """Return bytes as PostgreSQL reads them from a text."""
    return None if value is None else "\\x" + value.hex()
