"""The facts for a group of records in few statements (PostgreSQL)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

from billtrack.core.periods import Month
from billtrack.direct import Driver
from billtrack.usage.facts import Facts, months_of
from billtrack.usage.meters import known_meters
from billtrack.usage.one_statement import as_bytea, as_json
from billtrack.usage.rows import UsedKey
from billtrack.usage.store import MonthKey
from billtrack.usage.submissions import Submission

FEW = 200
"""Up to so many, one statement with a row for each is quicker than one for each kind of fact."""

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
_USERS = """
SELECT sent.id, is_active
FROM unnest(CAST(%(ids)s AS bigint[])) AS sent (id)
CROSS JOIN LATERAL (
    SELECT deactivated_at IS NULL AS is_active FROM users WHERE users.id = sent.id LIMIT 1
) AS known
"""
_METERS = "SELECT code, id FROM meters"
_TOTALS = """
SELECT
    user_id, meter_id, first,
    (
        SELECT CAST(coalesce(sum(daily.quantity), 0) AS bigint) FROM usage_daily AS daily
        WHERE daily.user_id = asked.user_id AND daily.meter_id = asked.meter_id
            AND daily.day BETWEEN asked.first AND asked.last
    )
FROM json_to_recordset(%(rows)s::json)
    AS asked (user_id bigint, meter_id integer, first date, last date)
"""


def find_facts(
    driver: Driver, submissions: Sequence[Submission], hashes: Sequence[bytes | None]
) -> Facts:
    """Return what is known now of these records and of the keys that they come under."""
    if len(submissions) <= FEW:
        return _find_few(driver, submissions, hashes)
    given = [{"key_hash": as_bytea(key)} for key in hashes if key is not None]
    rows = driver.execute(_KEYS, {"rows": as_json(given)}) if given else ()
    keys = {bytes(row[0]): UsedKey(row[1], bytes(row[2])) for row in rows}
    fresh = [sent for sent, key in zip(submissions, hashes, strict=True) if key not in keys]
    if not fresh:
        return Facts(keys, {}, {}, {})
    meters: dict[str, int] = dict(driver.execute(_METERS))
    known_meters().update(meters)
    ids = sorted({sent.item.user_id for sent in fresh})
    users: dict[int, bool] = dict(driver.execute(_USERS, {"ids": ids}))
    return Facts(keys, users, meters, _totals(driver, sorted(months_of(fresh, meters))))


def _totals(driver: Driver, asked: Sequence[MonthKey]) -> Mapping[MonthKey, int]:
    wanted = [
        {"user_id": user_id, "meter_id": meter_id, **_bounds(month)}
        for user_id, meter_id, month in asked
    ]
    rows = driver.execute(_TOTALS, {"rows": as_json(wanted)})
    return {(user_id, meter_id, Month.of(first)): total for user_id, meter_id, first, total in rows}


def _find_few(
    driver: Driver, submissions: Sequence[Submission], hashes: Sequence[bytes | None]
) -> Facts:
    months = [Month.of(sent.day) for sent in submissions]
    asked = [
        {
            "user_id": sent.item.user_id,
            "event": sent.item.event,
            "key_hash": as_bytea(key),
            **_bounds(month),
        }
        for sent, key, month in zip(submissions, hashes, months, strict=True)
    ]
    keys: dict[bytes, UsedKey] = {}
    is_active: dict[int, bool] = {}
    meters: dict[str, int] = {}
    totals: dict[MonthKey, int] = {}
    rows = driver.execute(_EACH, {"rows": as_json(asked)}).fetchall()
    for row, sent, key, month in zip(rows, submissions, hashes, months, strict=True):
        record_id, content, user_id, active, meter_id, total = row
        if key is not None and record_id is not None:
            keys[key] = UsedKey(record_id, bytes(content))
        if user_id is not None:
            is_active[user_id] = active
        if meter_id is not None:
            meters[sent.item.event] = meter_id
            totals[sent.item.user_id, meter_id, month] = total
    known_meters().update(meters)
    return Facts(keys, is_active, meters, totals)


def _bounds(month: Month) -> dict[str, date]:
    return {"first": month.first, "last": month.last}
