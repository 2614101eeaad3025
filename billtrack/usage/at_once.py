"""Store a group of records without asking first whether they may be (PostgreSQL).

Most records are what they should be: they come from who has sent before, for users that are
active, under keys that are new. To ask takes as long as to store. So all of it is assumed, the
rules judge by what is assumed, and the one statement that stores the group stores nothing of it
where anything does not hold. Then the group goes the way that asks first, see `intake`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import psycopg

from billtrack.accounts import seen_keys
from billtrack.accounts.api_keys import LiveKey
from billtrack.usage.batch import Batch, Outcome, Status
from billtrack.usage.facts import Facts, months_of
from billtrack.usage.ingest.settling import settle
from billtrack.usage.intake import not_known, view_of
from billtrack.usage.lookup import Execute
from billtrack.usage.meters import known_meters
from billtrack.usage.one_statement import GIVEN, STORE, as_json, as_row
from billtrack.usage.rows import NewRecord
from billtrack.usage.rules import MAX_TOTAL
from billtrack.usage.submissions import Submission

ASSUMED_TOTAL = MAX_TOTAL // 2
"""What the month of a user and event is assumed to hold at most, base units."""

_MONTH = "date_trunc('month', given.day::timestamp)"
_APPEND = f"""
WITH given AS MATERIALIZED (
    SELECT given.* {GIVEN}
), assumed AS MATERIALIZED (
    SELECT bool_and(
        (SELECT deactivated_at IS NULL FROM users WHERE id = user_id) IS TRUE
        AND (
            SELECT coalesce(sum(daily.quantity), 0) FROM usage_daily AS daily
            WHERE daily.user_id = given.user_id AND daily.meter_id = given.meter_id
                AND daily.day BETWEEN {_MONTH}::date AND ({_MONTH} + interval '1 month')::date - 1
        ) <= {ASSUMED_TOTAL}
    ) AND (
        SELECT bool_and((SELECT id = known.id FROM meters WHERE code = known.code) IS TRUE)
        FROM json_to_recordset(%(meters)s::json) AS known (code text, id integer)
    ) AND ({seen_keys.HOLD}) AS holds
    FROM given
), sent AS MATERIALIZED (
    SELECT nextval('usage_records_id_seq') AS id, given.* FROM given
    WHERE (SELECT holds FROM assumed)
), {STORE}
SELECT id, metadata FROM sent ORDER BY position
"""  # noqa: S608 (all of its parts are ours)


async def submit_at_once(
    execute: Execute, submissions: Sequence[Submission], *, keys: Collection[LiveKey]
) -> list[Outcome] | None:
    """Store all the records and answer for each; None where nothing is stored.

    `keys` are those by which they were sent, as they were seen before. Raises only when nothing
    is stored.
    """
    batch = Batch(submissions)
    facts = _assume(submissions)
    fresh = batch.admit_all(facts) if facts else None
    if facts is None or fresh is None:
        return None
    used = {sent.item.event: facts.meters[sent.item.event] for sent in submissions}
    values = {
        "rows": as_json([as_row(record) for record in fresh]),
        "meters": as_json([{"code": code, "id": meter_id} for code, meter_id in used.items()]),
        "keys": as_json(seen_keys.as_seen(keys)),
    }
    try:
        rows = await execute(_APPEND, values)
        if rows:
            outcomes = [
                _accepted(sent, record, row)
                for sent, record, row in zip(submissions, fresh, rows, strict=True)
            ]
            settle(submissions, outcomes)
            return outcomes
    except psycopg.Error:
        # Nothing is stored: a key is taken, or whoever asks first will meet the same.
        return None
    except Exception as error:  # noqa: BLE001 (whatever it was, the client decides)
        return not_known(submissions, error)
    return None  # who looks up next sees what has changed


def _accepted(sent: Submission, record: NewRecord, row: tuple[Any, ...]) -> Outcome:
    # Metadata as the database has them, which may write a number in another way than the client.
    record_id, metadata = row
    view = view_of(record_id, record, sent.item.event, metadata)
    return Outcome(Status.ACCEPTED, record_id, stored=record, view=view)


def _assume(submissions: Sequence[Submission]) -> Facts | None:
    meters = known_meters()
    if any(sent.item.event not in meters for sent in submissions):
        return None
    return Facts(
        keys={},
        is_active=dict.fromkeys((sent.item.user_id for sent in submissions), True),
        meters=meters,
        totals=dict.fromkeys(months_of(submissions, meters), ASSUMED_TOTAL),
    )
