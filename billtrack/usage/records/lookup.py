"""One record by its id, looked up together with those that others ask for at the moment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import Engine

from billtrack.accounts.credentials import key_cache
from billtrack.accounts.credentials.key_cache import LiveKey
from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.core.errors import NotFoundError
from billtrack.platform.db import end_read
from billtrack.platform.driver import as_json, read_now
from billtrack.usage.records.queries import RECORDS_BY_ID, RecordView

AT_ONCE = 200

Execute = Callable[[str, Mapping[str, Any]], Awaitable[Sequence[tuple[Any, ...]]]]
"""Runs one statement, a transaction by itself, and returns its rows.

Raises psycopg.Error where nothing came of it, anything else where that is not known.
"""

_FOR_LOOP = f"""
SELECT found.*
FROM unnest(CAST(%(ids)s AS bigint[])) AS wanted (id)
CROSS JOIN LATERAL (
    SELECT
        record.id, record.user_id, record.meter_id,
        (SELECT code FROM meters WHERE id = record.meter_id),
        record.quantity, record.occurred_at, record.created_at, record.recorded_by_id,
        record.idempotency_key, record.metadata, record.reverses_id, record.reason,
        (
            SELECT id FROM usage_records AS reversal
            WHERE reversal.user_id = record.user_id AND reversal.reverses_id = record.id
        ),
        record.origin, record.variant
    FROM usage_records AS record WHERE record.id = wanted.id LIMIT 1
) AS found
WHERE ({key_cache.ALL_HOLD})
"""  # noqa: S608 (all of its parts are ours)


class RecordNotFound(NotFoundError):
    """There is no such record, or it is not theirs."""

    code = "usage_record_not_found"

    def __init__(self, record_id: int) -> None:
        super().__init__(f"There is no usage record {record_id} that you can see.")


def get_record(record_id: int, *, reach: Reach) -> RecordView:
    """Return the record as it stands now; raises RecordNotFound outside the reach."""
    end_read()  # its connection is free for the look-up
    (record,) = find_together([record_id])
    if record is None or not covers(reach, record):
        raise RecordNotFound(record_id)
    return record


def find_together(
    record_ids: Sequence[int], *, engine: Engine | None = None
) -> list[RecordView | None]:
    """Return each of the records as it stands now, or None where there is none.

    On SQLite an event loop asks by an engine of its own.
    """
    rows = read_now(RECORDS_BY_ID, {"ids": sorted(set(record_ids))}, engine)
    found = {record.id: record for record in (RecordView(*row) for row in rows)}
    return [found.get(record_id) for record_id in record_ids]


async def find_at_once(
    execute: Execute, record_ids: Sequence[int], *, keys: Collection[LiveKey]
) -> list[RecordView | None]:
    """Return each of the records, None where there is none (PostgreSQL, from an event loop).

    Nothing is found unless all the keys are as they were seen last. Raises what `execute` raises.
    """
    values = {"ids": sorted(set(record_ids)), "keys": as_json(key_cache.as_seen(keys))}
    found = {row[0]: _view(*row) for row in await execute(_FOR_LOOP, values)}
    return [found.get(record_id) for record_id in record_ids]


def _view(*row: Any) -> RecordView:
    # The driver gives instants in the zone of the server.
    values = (*row[:5], *(instant.astimezone(UTC) for instant in row[5:7]), *row[7:])
    return RecordView(*values)


def covers(reach: Reach, record: RecordView) -> bool:
    """Tell whether who asks may see the record."""
    if reach.breadth is Breadth.ALL:
        return True
    if reach.breadth is Breadth.RECORDED:
        return record.recorded_by_id == reach.user_id
    return record.user_id == reach.user_id
