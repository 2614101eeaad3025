"""What the rules must know of a group of records, looked up at once, before any is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from billtrack.accounts.queries import find_activity
from billtrack.core.periods import Month
from billtrack.extensions import db
from billtrack.usage import store
from billtrack.usage.meters import meter_ids
from billtrack.usage.rows import UsedKey
from billtrack.usage.submissions import Submission

FEW = 200
"""Up to so many, one statement with a row for each is quicker than one for each kind of fact."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Which keys are used, which users exist and are active, which events exist, and totals.

    `totals` are in base units, by user, meter and month; those of records whose key is used
    may be missing.
    """

    keys: Mapping[bytes, UsedKey]
    is_active: Mapping[int, bool]
    meters: Mapping[str, int]
    totals: Mapping[store.MonthKey, int]


def find_facts(submissions: Sequence[Submission], hashes: Sequence[bytes | None]) -> Facts:
    """Return what is known now of these records and of the keys that they come under."""
    if db.session.get_bind().dialect.name == "postgresql" and len(submissions) <= FEW:
        return _find_in_one_statement(submissions, hashes)
    keys = store.used_keys([key for key in hashes if key is not None])
    fresh = [sent for sent, key in zip(submissions, hashes, strict=True) if key not in keys]
    if not fresh:
        return Facts(keys, {}, {}, {})
    meters = meter_ids()
    months = {
        (sent.item.user_id, meter_id, Month.of(sent.day))
        for sent in fresh
        if (meter_id := meters.get(sent.item.event)) is not None
    }
    users = find_activity([sent.item.user_id for sent in fresh])
    return Facts(keys, users, meters, store.month_totals(sorted(months)))


_FACTS = text("""
SELECT
    used.record_id, used.fingerprint, users.id, users.deactivated_at IS NULL, meters.id,
    (
        SELECT CAST(coalesce(sum(daily.quantity), 0) AS bigint) FROM usage_daily AS daily
        WHERE daily.user_id = sent.user_id AND daily.meter_id = meters.id
            AND daily.day BETWEEN sent.first AND sent.last
    )
FROM unnest(
    CAST(:users AS bigint[]), CAST(:events AS text[]), CAST(:firsts AS date[]),
    CAST(:lasts AS date[]), CAST(:hashes AS bytea[])
) WITH ORDINALITY AS sent (user_id, event, first, last, key_hash, position)
LEFT JOIN users ON users.id = sent.user_id
LEFT JOIN meters ON meters.code = sent.event
LEFT JOIN usage_keys AS used ON used.key_hash = sent.key_hash
ORDER BY sent.position
""")


def _find_in_one_statement(
    submissions: Sequence[Submission], hashes: Sequence[bytes | None]
) -> Facts:
    months = [Month.of(sent.day) for sent in submissions]
    asked = {
        "users": [sent.item.user_id for sent in submissions],
        "events": [sent.item.event for sent in submissions],
        "firsts": [month.first for month in months],
        "lasts": [month.last for month in months],
        "hashes": list(hashes),
    }
    keys: dict[bytes, UsedKey] = {}
    is_active: dict[int, bool] = {}
    meters: dict[str, int] = {}
    totals: dict[store.MonthKey, int] = {}
    rows = db.session.connection().execute(_FACTS, asked).all()
    for row, sent, key, month in zip(rows, submissions, hashes, months, strict=True):
        record_id, content, user_id, active, meter_id, total = row
        if key is not None and record_id is not None:
            keys[key] = UsedKey(record_id, bytes(content))
        if user_id is not None:
            is_active[user_id] = active
        if meter_id is not None:
            meters[sent.item.event] = meter_id
            totals[sent.item.user_id, meter_id, month] = total
    return Facts(keys, is_active, meters, totals)
