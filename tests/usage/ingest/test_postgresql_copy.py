"""Many records at once on PostgreSQL: what is written, in which order, and when it fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest
from apiflask import APIFlask
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.driver import ask_driver, single_statements
from billtrack.platform.extensions import db
from billtrack.usage.ingest.intake import Batch, submit
from billtrack.usage.ingest.store import postgresql, postgresql_copy
from billtrack.usage.ingest.store.postgresql_copy import MANY
from billtrack.usage.records.keys import key_hash
from billtrack.usage.records.outcomes import Outcome
from billtrack.usage.records.rows import KeyTaken, NewRecord
from billtrack.usage.records.submissions import Submission, Terms, UsageInput
from tests.api.refusals import row_counts
from tests.cast import Cast, terms
from tests.scenarios.harness import eventually
from tests.usage.faults import FAULTY, fail_at_quantity
from tests.usage.ingest.test_intake import assert_rollups_equal_records
from tests.usage.racing import in_threads

pytestmark = pytest.mark.parametrize("settings", ["postgresql"], indirect=True)

TABLES = ("usage_records", "usage_keys", "usage_daily", "usage_monthly")
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"


def make(cast: Cast, number: int, **changes: Any) -> NewRecord:
    at = datetime(2026, 3, 29, 1, 30, tzinfo=timezone(timedelta(hours=2)))
    record = NewRecord(
        user_id=cast.customer.id,
        meter_id=1 + number % 2,
        quantity=10**15,
        occurred_at=at + timedelta(microseconds=number),
        day=date(2026, 3, 29 + number % 2),
        created_at=datetime(2026, 11, 25, 12, 0, 0, 7, tzinfo=UTC),
        recorded_by_id=cast.provider.id,
        idempotency_key=f'ключ \\N "{number}"',
        key_hash=bytes([255 - number]) * 16,
        fingerprint=bytes(range(number, number + 16)),
        metadata={"region": "Zürich", "n": 1.5, "on": True, "z": 10**30, "a": "'\\\t"},
        origin="org/𝔘",
    )
    return replace(record, **changes)


def items(cast: Cast, count: int, *, first: int = 0) -> list[UsageInput]:
    return [
        UsageInput(cast.customer.id, "api_calls", 1 + n, idempotency_key=f"k-{n}")
        for n in range(first, first + count)
    ]


def as_uuid(item: UsageInput, rules: Terms) -> UUID:
    digest = key_hash(Submission(item, rules))
    assert digest is not None
    return UUID(bytes=digest)


def stored() -> dict[str, Sequence[Any]]:
    """Return all rows, numbered from the first record on."""
    return {
        table: ask_driver(f"SELECT x::text FROM {table} AS x ORDER BY x", {}) for table in TABLES
    }


def start_anew() -> None:
    with transaction() as session:
        session.execute(text(f"TRUNCATE {', '.join(TABLES)}"))
        session.execute(text("ALTER SEQUENCE usage_records_id_seq RESTART"))


def test_it_writes_what_the_single_statement_writes(app: APIFlask, cast: Cast) -> None:
    without: dict[str, Any] = dict.fromkeys(("idempotency_key", "key_hash", "metadata", "origin"))
    records = [make(cast, number, **(without if number % 3 == 2 else {})) for number in range(7)]
    written = []
    for append in (postgresql.append, postgresql_copy.append):
        start_anew()
        with single_statements() as driver:
            assert append(driver, records) == [1, 2, 3, 4, 5, 6, 7]
        written.append(stored())
    assert written[0] == written[1]
    assert {table: len(rows) for table, rows in written[1].items()} == {
        "usage_records": 7,
        "usage_keys": 5,
        "usage_daily": 2,
        "usage_monthly": 2,
    }


def test_it_stores_nothing_under_a_key_that_is_used(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql_copy, "MANY", 1)
    with single_statements() as driver:
        postgresql.Writer(driver).append([make(cast, 0), make(cast, 1)])
    before = stored()
    with single_statements() as driver, pytest.raises(KeyTaken):
        postgresql.Writer(driver).append([make(cast, 2), make(cast, 1)])
    assert stored() == before
    with single_statements() as driver:
        postgresql.Writer(driver).append([make(cast, 2)])
    assert stored()["usage_daily"] != before["usage_daily"]


def test_it_answers_for_each_of_a_large_batch(app: APIFlask, cast: Cast) -> None:
    sent, rules = items(cast, 2 * MANY), terms(cast.provider)
    submit(sent[:10], terms=rules)
    unknown = [
        replace(sent[0], idempotency_key="user", user_id=10**9),
        replace(sent[0], idempotency_key="event", event="unheard_of"),
    ]
    outcomes = submit([*sent, *unknown, sent[-1], replace(sent[-2], quantity=1)], terms=rules)
    refused = [one.error.code for one in outcomes[len(sent) : len(sent) + 2] if one.error]
    assert refused == ["unknown_user", "unknown_event"]
    del outcomes[len(sent) : len(sent) + 2]
    told = ["duplicate"] * 10 + ["accepted"] * (2 * MANY - 10) + ["duplicate", "conflict"]
    assert [one.status for one in outcomes] == told
    assert outcomes[-2].record_id == outcomes[-3].record_id
    keys = dict(ask_driver("SELECT idempotency_key, id FROM usage_records", {}))
    assert [one.record_id for one in outcomes[: len(sent)]] == [
        keys[one.idempotency_key] for one in sent
    ]
    assert_rollups_equal_records()


def test_large_and_small_batches_with_the_same_keys_never_wait_in_a_circle(
    app: APIFlask, cast: Cast
) -> None:
    sent, rules = items(cast, 2 * MANY), terms(cast.provider)
    small = [sent[n : n + 200] for n in range(0, len(sent), 200)]

    def take_in_all(batches: list[list[UsageInput]]) -> list[Outcome]:
        return [outcome for batch in batches for outcome in submit(batch, terms=rules)]

    writers: list[list[list[UsageInput]]] = [[sent], [sent[::-1]], small, small[::-1]]
    outcomes = in_threads(app, [partial(take_in_all, batches) for batches in writers])
    told = Counter(one.status for some in outcomes for one in some)
    assert told == {"accepted": len(sent), "duplicate": 3 * len(sent)}
    assert row_counts()["usage_records"] == row_counts()["usage_keys"] == len(sent)
    assert_rollups_equal_records()


def test_it_waits_for_rollups_before_it_claims_keys(
    app: APIFlask, cast: Cast, settings: Settings
) -> None:
    sent, rules = items(cast, MANY), terms(cast.provider)
    submit(items(cast, 1, first=MANY), terms=rules)

    def take_in() -> list[Outcome]:
        with app.app_context():
            return submit(sent, terms=rules)

    with other_writer(settings) as other, ThreadPoolExecutor(1) as thread:
        other.execute("SELECT 1 FROM usage_daily FOR UPDATE")
        answer = thread.submit(take_in)
        eventually(lambda: ask_driver(WAITING, {}) == [(1,)], "it waits for the rollup")
        # Whoever holds the rollup can take each of the keys: the other is not in its way.
        other.execute("SET lock_timeout = '5s'")
        other.execute(
            "INSERT INTO usage_keys (key_hash, record_id, fingerprint) VALUES (%s, 1, %s)",
            (as_uuid(sent[0], rules), bytes(16)),
        )
        other.commit()
        outcomes = answer.result(timeout=30)
    assert Counter(one.status for one in outcomes) == {"conflict": 1, "accepted": MANY - 1}
    assert_rollups_equal_records()


@contextmanager
def other_writer(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    url = settings.sqlalchemy_url.replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        yield connection


def test_it_says_that_nothing_is_stored_when_the_server_refuses(app: APIFlask, cast: Cast) -> None:
    sent, before = items(cast, MANY), row_counts()
    fail_at_quantity()
    sent[MANY // 2] = replace(sent[0], idempotency_key="faulty", quantity=FAULTY)
    batch = Batch([Submission(item, terms(cast.provider)) for item in sent])
    with pytest.raises(DBAPIError):
        batch.take_in()
    assert not batch.may_be_stored
    assert row_counts() == before


def test_it_says_that_it_does_not_know_when_the_connection_is_lost(
    app: APIFlask, cast: Cast
) -> None:
    before = row_counts()
    with transaction():
        db.session.execute(text(_LOSE_CONNECTION))
    batch = Batch([Submission(item, terms(cast.provider)) for item in items(cast, MANY)])
    with pytest.raises(DBAPIError):
        batch.take_in()
    assert batch.may_be_stored
    assert row_counts() == before


_LOSE_CONNECTION = """
CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END $$;
CREATE TRIGGER lose AFTER INSERT ON usage_keys EXECUTE FUNCTION lose()
"""
