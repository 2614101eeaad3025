"""What a record costs while the tables grow, and what memory the web server holds.

Batches beside COPY (executemany on SQLite) into the same tables, at each size: what becomes
slower for billtrack alone shows in the ratio, not in the figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select, text

from bench.batches import inserting, posting
from bench.crowd import DAYS_BACK, INSTANT, NUMBERS, SECONDS_OF_DAY, insert_unchecked
from bench.measure import Result, alternate
from bench.places import Place, memory
from bench.run import Run
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.usage.records.models import UsageRecord

BATCH = 1_000
PARTS = (20, 4, 2, 1)
"""The tables are filled up to a twentieth of the records asked for, then to a quarter, …"""

_KEYS = {
    name: "INSERT INTO usage_keys (key_hash, record_id, fingerprint) "
    f"SELECT {key}, id, {content} FROM usage_records WHERE id > :highest"
    for name, key, content in (
        ("sqlite", "randomblob(16)", "randomblob(16)"),
        ("postgresql", "gen_random_uuid()", "uuid_send(gen_random_uuid())"),
    )
}
_NEXT_ID = text("SELECT setval('usage_records_id_seq', max(id)) FROM usage_records")


def measure(place: Place, run: Run) -> Iterator[Result]:
    """Yield the rate of batches at each size of the tables, in records a second."""
    limit_name = "COPY, same tables" if place.database == "postgresql" else "executemany"
    with place.serving() as web:
        post, insert = posting(web, BATCH), inserting(place, BATCH)
        post()
        for part in PARTS:
            size = run.records // part
            _fill(place, size)
            figure, limit, *_ = alternate(run.rounds, post, insert)
            name = f"batches of {BATCH:,} into {size:,}"
            yield Result(name, "/s", figure, limit_name, limit)
            run.note(f"{place.database}: web server {memory(web):.0f} MiB at {size:,} records")


def _fill(place: Place, size: int) -> None:
    """Insert records with keys until there are so many."""
    with place.site.inside():
        dialect = db.engine.dialect.name
        highest = db.session.scalar(select(func.max(UsageRecord.id))) or 0
        instant = INSTANT[dialect]
        records = (
            "INSERT INTO usage_records (id, user_id, meter_id, quantity, occurred_at, created_at, "
            f"recorded_by_id, idempotency_key) {NUMBERS} SELECT :highest + 1 + n, "
            f":user + n % :users, 1 + n % 4, 1, {instant}, {instant}, :recorder, 'grown-' || n "
            "FROM d"
        )
        values = {
            "highest": highest,
            "last": size - highest - 1,
            "user": place.customers[0],
            "users": len(place.customers),
            "recorder": place.provider.id,
            "first": (datetime.now(UTC).date() - timedelta(days=DAYS_BACK)).isoformat(),
            "step": DAYS_BACK * SECONDS_OF_DAY / size,
        }
        insert_unchecked(dialect, records, values)
        insert_unchecked(dialect, _KEYS[dialect], {"highest": highest})
        if dialect == "postgresql":
            with transaction() as session:
                session.execute(_NEXT_ID)
