"""The facts for a group of records in few statements (PostgreSQL)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from billtrack.core.periods import Month
from billtrack.platform.driver import Driver, as_json
from billtrack.usage.ingest.facts import Facts, MonthKey
from billtrack.usage.records.meters import known_meters
from billtrack.usage.records.rows import UsedKey
from billtrack.usage.records.submissions import Submission

FEW = 200
"""Up to so many, one statement is quicker than one for keys and one for all else."""

# A join, not `key_hash = ANY(array)`: that looks for each key in each partition (100 keys: 5 ms),
# a join only in the one that holds it (0.8 ms). Behind SELECT the planner counts on 10 keys,
# however many there are: by as many look-ups as are needed it would read young tables whole.
_KEYS = """
SELECT key_hash, record_id, fingerprint
FROM unnest((SELECT %(keys)s::uuid[])) AS wanted (key_hash) JOIN usage_keys USING (key_hash)
"""
_NO_KEYS = """
SELECT CAST(NULL AS uuid) AS key_hash, CAST(NULL AS bigint) AS record_id,
    CAST(NULL AS bytea) AS fingerprint
WHERE false
"""
# As plain joins these were planned, while tables were young, to read all users there are, for each
# group of records. LIMIT keeps each look-up one by its index, whatever the plan was made for.
_EACH = """
WITH used AS MATERIALIZED (USED)
SELECT
    used.record_id, used.fingerprint, users.id, users.is_active, meters.id,
    (
        SELECT quantity FROM usage_monthly AS monthly
        WHERE monthly.user_id = sent.user_id AND monthly.meter_id = meters.id
            AND monthly.month = sent.month
    )
FROM ROWS FROM (
    json_to_recordset(%(rows)s::json)
    AS (user_id bigint, event text, month date, key_hash uuid)
) WITH ORDINALITY AS sent (user_id, event, month, key_hash, position)
LEFT JOIN LATERAL (
    SELECT id, deactivated_at IS NULL AS is_active FROM users WHERE id = sent.user_id LIMIT 1
) AS users ON true
LEFT JOIN LATERAL (SELECT id FROM meters WHERE code = sent.event LIMIT 1) AS meters ON true
LEFT JOIN used ON used.key_hash = sent.key_hash
ORDER BY sent.position
"""
_EACH_BY_KEY = _EACH.replace("USED", _KEYS)
# Joined to keys that are none, usage_keys would be read whole.
_EACH_WITHOUT_KEY = _EACH.replace("USED", _NO_KEYS)


def find_facts(
    driver: Driver, submissions: Sequence[Submission], hashes: Sequence[bytes | None]
) -> Facts:
    """Return what is known now of these records and of the keys that they come under."""
    if len(submissions) <= FEW:
        return _find_few(driver, submissions, hashes)
    given = list({key.hex() for key in hashes if key is not None})
    rows = driver.execute(_KEYS, {"keys": given}).fetchall() if given else ()
    keys = {row[0].bytes: UsedKey(row[1], bytes(row[2])) for row in rows}
    fresh = [sent for sent, key in zip(submissions, hashes, strict=True) if key not in keys]
    days = {(sent.item.user_id, sent.item.event, sent.day) for sent in fresh}
    groups = {(user_id, event, Month.of(day)) for user_id, event, day in days}
    if not groups:
        return Facts(keys, {}, {}, {})
    found = _find_each(driver, [(*group, None) for group in groups])
    return replace(found, keys=keys)


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
        {"user_id": user_id, "event": event, "month": month.first, "key_hash": key and key.hex()}
        for user_id, event, month, key in asked
    ]
    values: dict[str, Any] = {"rows": as_json(given)}
    if hashes := {key.hex() for *_, key in asked if key is not None}:
        rows = driver.execute(_EACH_BY_KEY, {**values, "keys": list(hashes)}).fetchall()
    else:
        rows = driver.execute(_EACH_WITHOUT_KEY, values).fetchall()
    for row, (user, event, month, key) in zip(rows, asked, strict=True):
        record_id, content, user_id, active, meter_id, total = row
        if key is not None and record_id is not None:
            keys[key] = UsedKey(record_id, bytes(content))
        if user_id is not None:
            is_active[user_id] = active
        if meter_id is not None:
            meters[event] = meter_id
            totals[user, meter_id, month] = total or 0
    known_meters().update(meters)
    is_known = all(event in meters for _, event, _, _ in asked)
    return Facts(keys, is_active, meters, totals, () if is_known else _find_events(driver))


def _find_events(driver: Driver) -> list[str]:
    return [code for (code,) in driver.execute("SELECT code FROM meters ORDER BY id")]
