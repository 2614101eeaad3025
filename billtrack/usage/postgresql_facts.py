"""The facts for a group of records in few statements (PostgreSQL)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from billtrack.core.periods import Month
from billtrack.direct import Driver
from billtrack.usage.facts import Facts
from billtrack.usage.meters import known_meters
from billtrack.usage.one_statement import as_bytea, as_json
from billtrack.usage.rows import UsedKey
from billtrack.usage.store import MonthKey
from billtrack.usage.submissions import Submission

FEW = 200
"""Up to so many, one statement is quicker than one for keys and one for all else."""

# As plain joins these were planned, while tables were young, to read all keys there are, for each
# group of records. LIMIT keeps each look-up one by its index, whatever the plan was made for.
_EACH = """
SELECT
    used.record_id, used.fingerprint, users.id, users.is_active, meters.id,
    (
        SELECT CAST(coalesce(sum(daily.quantity), 0) AS bigint) FROM usage_daily AS daily
        WHERE daily.user_id = sent.user_id AND daily.meter_id = meters.id
            AND daily.day BETWEEN sent.first AND sent.last
    )
FROM ROWS FROM (
    json_to_recordset(%(rows)s::json)
    AS (user_id bigint, event text, first date, last date, key_hash bytea)
) WITH ORDINALITY AS sent (user_id, event, first, last, key_hash, position)
LEFT JOIN LATERAL (
    SELECT id, deactivated_at IS NULL AS is_active FROM users WHERE id = sent.user_id LIMIT 1
) AS users ON true
LEFT JOIN LATERAL (SELECT id FROM meters WHERE code = sent.event LIMIT 1) AS meters ON true
LEFT JOIN LATERAL (
    SELECT record_id, fingerprint FROM usage_keys WHERE key_hash = sent.key_hash LIMIT 1
) AS used ON true
ORDER BY sent.position
"""
_KEYS = """
SELECT sent.key_hash, record_id, fingerprint
FROM json_to_recordset(%(rows)s::json) AS sent (key_hash bytea)
CROSS JOIN LATERAL (
    SELECT record_id, fingerprint FROM usage_keys WHERE key_hash = sent.key_hash LIMIT 1
) AS used
"""


def find_facts(
    driver: Driver, submissions: Sequence[Submission], hashes: Sequence[bytes | None]
) -> Facts:
    """Return what is known now of these records and of the keys that they come under."""
    if len(submissions) <= FEW:
        return _find_few(driver, submissions, hashes)
    given = [{"key_hash": as_bytea(key)} for key in hashes if key is not None]
    rows = driver.execute(_KEYS, {"rows": as_json(given)}).fetchall() if given else ()
    keys = {bytes(row[0]): UsedKey(row[1], bytes(row[2])) for row in rows}
    fresh = [sent for sent, key in zip(submissions, hashes, strict=True) if key not in keys]
    days = {(sent.item.user_id, sent.item.event, sent.day) for sent in fresh}
    groups = {(user_id, event, Month.of(day)) for user_id, event, day in days}
    if not groups:
        return Facts(keys, {}, {}, {})
    found = _find_each(driver, [(*group, None) for group in groups])
    return Facts(keys, found.is_active, found.meters, found.totals)


def _find_few(
    driver: Driver, submissions: Sequence[Submission], hashes: Sequence[bytes | None]
) -> Facts:
    asked = [
        (sent.item.user_id, sent.item.event, Month.of(sent.day), key)
        for sent, key in zip(submissions, hashes, strict=True)
    ]
    return _find_each(driver, asked)


def _find_each(driver: Driver, asked: Sequence[tuple[int, str, Month, bytes | None]]) -> Facts:
    keys: dict[bytes, UsedKey] = {}
    is_active: dict[int, bool] = {}
    meters: dict[str, int] = {}
    totals: dict[MonthKey, int] = {}
    given = [
        {"user_id": user_id, "event": event, "key_hash": as_bytea(key), **_bounds(month)}
        for user_id, event, month, key in asked
    ]
    rows = driver.execute(_EACH, {"rows": as_json(given)}).fetchall()
    for row, (user, event, month, key) in zip(rows, asked, strict=True):
        record_id, content, user_id, active, meter_id, total = row
        if key is not None and record_id is not None:
            keys[key] = UsedKey(record_id, bytes(content))
        if user_id is not None:
            is_active[user_id] = active
        if meter_id is not None:
            meters[event] = meter_id
            totals[user, meter_id, month] = total
    known_meters().update(meters)
    return Facts(keys, is_active, meters, totals)


def _bounds(month: Month) -> dict[str, date]:
    return {"first": month.first, "last": month.last}
