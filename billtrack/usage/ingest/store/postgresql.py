"""Records, their keys and their rollups in a single statement (PostgreSQL).

Four statements, each by way of SQLAlchemy and the network, take longer than what they do. The
rows travel as one JSON text, in a third of the time that an array for each column takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from psycopg.errors import CheckViolation, UniqueViolation

from billtrack.platform.db import end_read
from billtrack.platform.driver import Driver, as_json, session_statements, single_statements
from billtrack.usage.ingest.facts import STATES, Facts, State
from billtrack.usage.ingest.store import postgresql_copy
from billtrack.usage.ingest.store.postgresql_lookup import find_facts
from billtrack.usage.records.models import KEY_PARTITIONS, UsageDaily, UsageMonthly
from billtrack.usage.records.rows import KeyTaken, MonthFull, NewRecord

_ROLLUPS = (UsageDaily.__tablename__, UsageMonthly.__tablename__)

# What is stored, as `given`, and storing what is `sent`: parts of a statement. PostgreSQL runs the
# last part first. A key that is taken, or a month that is full, fails all of it.
_GIVEN = """
    FROM ROWS FROM (
        json_to_recordset(%(rows)s::json) AS (
            user_id bigint, meter_id integer, quantity bigint, occurred_at timestamptz, day date,
            created_at timestamptz, recorded_by_id bigint, idempotency_key text, key_hash uuid,
            fingerprint bytea, metadata jsonb, origin text, variant text
        )
    ) WITH ORDINALITY AS given (
        user_id, meter_id, quantity, occurred_at, day,
        created_at, recorded_by_id, idempotency_key, key_hash,
        fingerprint, metadata, origin, variant, position
    )
"""
_STORE = """
claimed AS (
    INSERT INTO usage_keys (key_hash, record_id, fingerprint)
    SELECT key_hash, id, fingerprint FROM sent WHERE key_hash IS NOT NULL ORDER BY key_hash
), records AS (
    INSERT INTO usage_records (
        id, user_id, meter_id, quantity, occurred_at, created_at,
        recorded_by_id, idempotency_key, metadata, origin, variant
    )
    SELECT id, user_id, meter_id, quantity, occurred_at, created_at,
        recorded_by_id, idempotency_key, metadata, origin, variant
    FROM sent
), rollups AS (
    INSERT INTO usage_daily AS daily (user_id, meter_id, variant, day, quantity, count)
    SELECT user_id, meter_id, variant, day, sum(quantity), count(*) FROM sent
    GROUP BY user_id, meter_id, variant, day ORDER BY user_id, meter_id, variant, day
    ON CONFLICT (user_id, meter_id, variant, day) DO UPDATE
    SET quantity = daily.quantity + excluded.quantity, count = daily.count + excluded.count
), months AS (
    INSERT INTO usage_monthly AS monthly (user_id, meter_id, month, quantity)
    SELECT user_id, meter_id, month, sum(quantity)
    FROM (SELECT *, date_trunc('month', day::timestamp)::date AS month FROM sent) AS by_month
    GROUP BY user_id, meter_id, month ORDER BY user_id, meter_id, month
    ON CONFLICT (user_id, meter_id, month) DO UPDATE
    SET quantity = monthly.quantity + excluded.quantity
)
"""
_APPEND = f"""
WITH sent AS MATERIALIZED (
    SELECT nextval('usage_records_id_seq') AS id, given.* {_GIVEN}
), {_STORE}
SELECT id FROM sent ORDER BY position
"""  # noqa: S608 (all of its parts are ours)

_STILL_SO = """(
    SELECT coalesce(bool_and({0.holds}), true)
    FROM json_to_recordset(%({0.name})s::json) AS seen ({0.columns})
)"""
_HOLD = " AND ".join(_STILL_SO.format(state) for state in STATES)
_APPEND_IF = f"""
WITH assumed AS MATERIALIZED (
    SELECT {_HOLD} AS holds
), sent AS MATERIALIZED (
    SELECT nextval('usage_records_id_seq') AS id, given.* {_GIVEN}
    WHERE (SELECT holds FROM assumed)
), {_STORE}
SELECT id, metadata FROM sent ORDER BY position
"""  # noqa: S608 (all of its parts are ours)

# What takes usage away finds its rows: they were written when the usage was added. A month beyond
# the limit, from before there was a constraint, does not grow again.
_APPEND_REVERSAL = """
WITH sent AS MATERIALIZED (
    SELECT nextval('usage_records_id_seq') AS id
), claimed AS (
    INSERT INTO usage_keys (key_hash, record_id, fingerprint)
    SELECT %(key_hash)s::uuid, id, %(fingerprint)s::bytea FROM sent
    RETURNING record_id AS id
), record AS (
    INSERT INTO usage_records (
        id, user_id, meter_id, quantity, occurred_at, created_at, recorded_by_id, reverses_id,
        reason, variant
    )
    SELECT id, %(user_id)s, %(meter_id)s, %(quantity)s, %(occurred_at)s::timestamptz,
        %(created_at)s::timestamptz, %(recorded_by_id)s, %(reverses_id)s, %(reason)s, %(variant)s
    FROM claimed
), day AS (
    UPDATE usage_daily SET quantity = quantity + %(quantity)s, count = count + 1
    FROM claimed
    WHERE user_id = %(user_id)s AND meter_id = %(meter_id)s AND variant = %(variant)s
        AND day = %(day)s
), month AS (
    UPDATE usage_monthly SET
        quantity = quantity + %(quantity)s,
        ceiling = greatest(quantity + %(quantity)s, 1000000000000000000)
    FROM claimed
    WHERE user_id = %(user_id)s AND meter_id = %(meter_id)s AND month = %(month)s
)
SELECT id FROM claimed
"""


class Writer:
    """Looks up, then stores, each in a statement of its own: the second is the transaction."""

    def __init__(self, driver: Driver) -> None:
        self.may_be_stored = False
        self._driver = driver
        self.look_up = partial(find_facts, driver)

    def append(self, records: Sequence[NewRecord]) -> Sequence[int]:
        """Store records that add usage; see `store.Writer`."""
        put = postgresql_copy.append if len(records) >= postgresql_copy.MANY else append
        self.may_be_stored = True
        try:
            return put(self._driver, records)
        except psycopg.Error as error:
            # What the server refuses it has not stored. Only a lost answer says nothing.
            self.may_be_stored = self._driver.closed
            raise_conflict(error)
            raise


@contextmanager
def writing() -> Iterator[Writer]:
    """Give a writer."""
    end_read()  # what the session has read is not what stands after this
    with single_statements() as driver:
        yield Writer(driver)


@contextmanager
def reading() -> Iterator[partial[Facts]]:
    """Give what looks up facts."""
    with single_statements() as driver:
        yield partial(find_facts, driver)


def append(driver: Driver, records: Sequence[NewRecord]) -> list[int]:
    """Store records that add usage, all of them or none; return their ids, in order."""
    return [row[0] for row in driver.execute(_APPEND, {"rows": _as_rows(records)})]


def append_if(
    records: Sequence[NewRecord], states: Iterable[State]
) -> tuple[str, Mapping[str, Any]]:
    """Return the statement, with its values, that stores records if all the states still hold.

    For records that add usage. It gives the id and metadata of each, in order, and no row where
    a state does not hold: nothing is stored then. It fails where a key is taken or a month is full.
    """
    seen: dict[str, list[Mapping[str, Any]]] = {state.name: [] for state in STATES}
    for state in states:
        seen[state.name].append(state.as_row())
    values = {name: as_json(rows) for name, rows in seen.items()}
    return _APPEND_IF, {**values, "rows": _as_rows(records)}


def append_reversal(record: NewRecord) -> int:
    """Store a record that takes usage away, in the session's transaction; see `store`."""
    values = {**_as_row(record), "month": record.day.replace(day=1)}
    values |= {"reverses_id": record.reverses_id, "reason": record.reason}
    with session_statements() as driver:
        try:
            (found,) = driver.execute(_APPEND_REVERSAL, values).fetchall()
        except psycopg.Error as error:
            raise_conflict(error)
            raise
    return int(found[0])


def _as_rows(records: Sequence[NewRecord]) -> str:
    return as_json([_as_row(record) for record in records])


def raise_conflict(error: psycopg.Error) -> None:
    """Raise KeyTaken or MonthFull if another writer was faster; return for any other error."""
    table = error.diag.table_name
    if isinstance(error, UniqueViolation) and table in KEY_PARTITIONS:
        raise KeyTaken from error
    if isinstance(error, CheckViolation) and table in _ROLLUPS:
        raise MonthFull from error


def _as_row(record: NewRecord) -> dict[str, Any]:
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
        "key_hash": None if record.key_hash is None else record.key_hash.hex(),
        "fingerprint": _bytea(record.fingerprint),
        "metadata": record.metadata or None,
        "origin": record.origin,
        "variant": record.variant,
    }


def _bytea(value: bytes | None) -> str | None:
    """Return bytes as PostgreSQL reads them from a text."""
    return None if value is None else "\\x" + value.hex()
