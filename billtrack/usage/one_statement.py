"""New records, their keys and their rollups in a single statement (PostgreSQL).

Four statements, each by way of SQLAlchemy and the network, take longer than what they do. The
columns travel as arrays, so that one record and ten thousand are the same statement.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import text

from billtrack.extensions import db
from billtrack.usage.rows import KeyTaken, NewRecord

# Parts run in this order: keys, which the last SELECT counts, records, rollups. Keys and rollups
# are each written in sorted order, so that two writers never wait for each other in a circle.
_APPEND = text("""
WITH sent AS MATERIALIZED (
    SELECT nextval('usage_records_id_seq') AS id, s.*
    FROM unnest(
        CAST(:user_ids AS bigint[]), CAST(:meter_ids AS bigint[]), CAST(:quantities AS bigint[]),
        CAST(:occurred AS timestamptz[]), CAST(:days AS date[]), CAST(:created AS timestamptz[]),
        CAST(:recorders AS bigint[]), CAST(:keys AS text[]), CAST(:hashes AS bytea[]),
        CAST(:fingerprints AS bytea[]), CAST(:metadata AS text[]),
        CAST(:origins AS text[])
    ) WITH ORDINALITY AS s (
        user_id, meter_id, quantity, occurred_at, day, created_at,
        recorded_by_id, idempotency_key, key_hash, fingerprint, metadata, origin, position
    )
), claimed AS (
    INSERT INTO usage_keys (key_hash, record_id, fingerprint)
    SELECT key_hash, id, fingerprint FROM sent WHERE key_hash IS NOT NULL ORDER BY key_hash
    ON CONFLICT DO NOTHING
    RETURNING record_id
), records AS (
    INSERT INTO usage_records (
        id, user_id, meter_id, quantity, occurred_at, created_at,
        recorded_by_id, idempotency_key, metadata, origin
    )
    SELECT id, user_id, meter_id, quantity, occurred_at, created_at,
        recorded_by_id, idempotency_key, CAST(metadata AS jsonb), origin
    FROM sent
), rollups AS (
    INSERT INTO usage_daily AS daily (user_id, meter_id, day, quantity, count)
    SELECT user_id, meter_id, day, sum(quantity), count(*) FROM sent
    GROUP BY user_id, meter_id, day ORDER BY user_id, meter_id, day
    ON CONFLICT (user_id, meter_id, day) DO UPDATE
    SET quantity = daily.quantity + excluded.quantity, count = daily.count + excluded.count
)
SELECT id, (SELECT count(*) FROM claimed) FROM sent ORDER BY position
""")


def append(records: Sequence[NewRecord]) -> list[int]:
    """Store records that add usage, none that takes back; return their ids, in order.

    Raises KeyTaken when another writer has used one of the keys in the meantime: the
    transaction must then be undone.
    """
    rows = db.session.connection().execute(_APPEND, _columns(records)).all()
    keys = sum(record.key_hash is not None for record in records)
    if rows[0][1] < keys:
        raise KeyTaken
    return [record_id for record_id, _ in rows]


def _columns(records: Sequence[NewRecord]) -> dict[str, list[Any]]:
    return {
        "user_ids": [record.user_id for record in records],
        "meter_ids": [record.meter_id for record in records],
        "quantities": [record.quantity for record in records],
        "occurred": [record.occurred_at.astimezone(UTC) for record in records],
        "days": [record.day for record in records],
        "created": [record.created_at.astimezone(UTC) for record in records],
        "recorders": [record.recorded_by_id for record in records],
        "keys": [record.idempotency_key for record in records],
        "hashes": [record.key_hash for record in records],
        "fingerprints": [record.fingerprint for record in records],
        "origins": [record.origin for record in records],
        "metadata": [json.dumps(m) if (m := record.metadata) else None for record in records],
    }
