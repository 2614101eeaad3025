"""What PostgreSQL reads to take records in: rows looked up by an index, in tables of any size."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from apiflask import APIFlask
from sqlalchemy import text, update

from billtrack.accounts.credentials.api_keys import find_together
from billtrack.accounts.users.models import ApiKey
from billtrack.platform.db import transaction
from billtrack.platform.driver import ask_driver, single_statements
from billtrack.platform.extensions import db
from billtrack.usage.ingest.intake import submit, submit_one
from billtrack.usage.ingest.store.postgresql_lookup import FEW
from billtrack.usage.records.submissions import UsageInput
from tests.cast import Cast, terms
from tests.entrypoints.server.fast_path.loops import before, see

pytestmark = pytest.mark.parametrize("settings", ["postgresql"], indirect=True)

PLANNED = 12
"""A statement is prepared at the sixth time and, after five more, planned once for all."""

GROWN = 20_000

_GROW = (
    f"""INSERT INTO users (id, email, name, role, created_at)
        SELECT n, n || '@grown.example', 'Grown', 'customer', now()
        FROM generate_series(100001, 100000 + {GROWN}) AS n""",
    f"""INSERT INTO usage_daily (user_id, meter_id, day, quantity, count)
        SELECT n, (SELECT min(id) FROM meters), current_date, 1, 1
        FROM generate_series(100001, 100000 + {GROWN}) AS n""",
    f"""INSERT INTO usage_monthly (user_id, meter_id, month, quantity)
        SELECT n, (SELECT min(id) FROM meters), date_trunc('month', current_date), 1
        FROM generate_series(100001, 100000 + {GROWN}) AS n""",
    f"""INSERT INTO usage_keys (key_hash, record_id, fingerprint)
        SELECT gen_random_uuid(), n, uuid_send(gen_random_uuid())
        FROM generate_series(1, {GROWN}) AS n""",
)
_READ = """
SELECT regexp_replace(relname, '_[0-9]+$', '') AS name, CAST(sum(seq_tup_read) AS bigint)
FROM pg_stat_user_tables
WHERE relname ~ '^(users|usage_daily|usage_monthly|usage_keys_[0-9]+|api_keys)$'
GROUP BY name
"""


class Reading:
    """What is read of the tables row after row, from here on."""

    def __init__(self) -> None:
        self._before = self._now()

    @property
    def read_whole(self) -> set[str]:
        """The tables that were read from end to end; other connections may have read a few rows."""
        return {table for table, rows in self._now().items() if rows - self._before[table] >= GROWN}

    def _now(self) -> dict[str, int]:
        with single_statements() as driver:
            driver.execute("SELECT pg_stat_force_next_flush()")
        return dict(ask_driver(_READ, {}))


def grow() -> None:
    """Fill the tables while the statistics still say that they are empty."""
    with transaction():
        for statement in _GROW:
            db.session.execute(text(statement))


def take_in(cast: Cast, *, prefix: str, count: int) -> None:
    rules = terms(cast.provider)
    items = [
        UsageInput(cast.customer.id, "api_calls", 1, idempotency_key=f"{prefix}-{n}")
        for n in range(count)
    ]
    if count == 1:
        submit_one(items[0], terms=rules)
    else:
        submit(items, terms=rules)


@pytest.mark.parametrize("count", [1, FEW, FEW + 1])
def test_it_finds_what_it_must_know_by_index_though_planned_for_young_tables(
    cast: Cast, count: int
) -> None:
    for n in range(PLANNED):
        take_in(cast, prefix=f"young-{n}", count=count)
    grow()
    reading = Reading()
    take_in(cast, prefix="grown", count=count)
    assert reading.read_whole == set()


def test_it_makes_sure_by_index_though_planned_for_young_tables(app: APIFlask, cast: Cast) -> None:
    def record(key: str) -> None:
        body = {"quantity": 1, "event": "api_calls", "user_id": cast.customer.id}
        assert (
            cast.provider.post("/api/v1/usage/", {**body, "idempotency_key": key}).status_code
            == 201
        )

    with transaction():
        db.session.execute(update(ApiKey).values(used_at=datetime.now(UTC)))
    with before(app) as loop:
        see(cast)
        for n in range(PLANNED):
            record(f"young-{n}")
        grow()
        reading = Reading()
        record("grown")
    assert loop.statuses == [201] * (PLANNED + 1)
    assert reading.read_whole == set()


def test_it_finds_keys_by_index_though_planned_for_young_tables(cast: Cast) -> None:
    for _ in range(PLANNED):
        assert find_together([cast.provider.key])[0] is not None
    grow()
    reading = Reading()
    assert find_together([cast.provider.key])[0] is not None
    assert reading.read_whole == set()
