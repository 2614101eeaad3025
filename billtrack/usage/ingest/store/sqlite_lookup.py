"""The facts for a group of records, by SQLite's own driver: as it was by SQLAlchemy, in a tenth."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence

from billtrack.usage.ingest.facts import Facts, MonthKey, months_of
from billtrack.usage.records.rows import UsedKey
from billtrack.usage.records.submissions import Submission

CHUNK = 10_000
"""Keys of one look-up: SQLite allows 32,766 parameters in a statement."""

_KEYS = "SELECT key_hash, record_id, fingerprint FROM usage_keys WHERE key_hash IN"
_METERS = "SELECT code, id FROM meters ORDER BY id"
_USERS = """
SELECT id, deactivated_at IS NULL FROM users WHERE id IN (SELECT value FROM json_each(?))
"""
_TOTALS = """
SELECT
    (
        SELECT quantity FROM usage_monthly
        WHERE user_id = asked.value ->> 0 AND meter_id = asked.value ->> 1
            AND month = asked.value ->> 2
    )
FROM json_each(?) AS asked
"""


def find_facts(
    driver: sqlite3.Connection, submissions: Sequence[Submission], hashes: Sequence[bytes | None]
) -> Facts:
    """Return what is known now of these records and of the keys that they come under."""
    keys = _used_keys(driver, [key for key in hashes if key is not None])
    fresh = [sent for sent, key in zip(submissions, hashes, strict=True) if key not in keys]
    if not fresh:
        return Facts(keys, {}, {}, {})
    meters: dict[str, int] = dict(driver.execute(_METERS))
    ids = json.dumps(sorted({sent.item.user_id for sent in fresh}))
    users = {user_id: bool(active) for user_id, active in driver.execute(_USERS, (ids,))}
    totals = _totals(driver, sorted(months_of(fresh, meters)))
    return Facts(keys, users, meters, totals, list(meters))


def _used_keys(driver: sqlite3.Connection, hashes: Sequence[bytes]) -> dict[bytes, UsedKey]:
    found: dict[bytes, UsedKey] = {}
    for start in range(0, len(hashes), CHUNK):
        chunk = hashes[start : start + CHUNK]
        places = ",".join("?" * len(chunk))
        statement = f"{_KEYS} ({places})"
        for key_hash, record_id, content in driver.execute(statement, chunk):
            found[key_hash] = UsedKey(record_id, content)
    return found


def _totals(driver: sqlite3.Connection, asked: Sequence[MonthKey]) -> Mapping[MonthKey, int]:
    wanted = [(user_id, meter_id, month.first.isoformat()) for user_id, meter_id, month in asked]
    rows = driver.execute(_TOTALS, (json.dumps(wanted),)).fetchall()
    # In the order in which they were asked for.
    return {key: total or 0 for key, (total,) in zip(asked, rows, strict=True)}
