"""Many records in a request, one request after the other.

Beside the same rows put into the same tables by the fastest means of the database: COPY on
PostgreSQL, executemany on SQLite; records and keys without rules, rollups or HTTP. They go into
an installation of their own: in ours they would make each next round slower than the baseline's.
"""

from __future__ import annotations

import itertools
import json
import secrets
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg

from bench import baseline
from bench.cpu import metered
from bench.load import Target
from bench.measure import Result, Round, Sample, alternate, rate
from bench.places import Place, open_place
from bench.run import Run

SIZES = (1_000, 10_000)
EVENTS = ("api_calls", "vm_uptime", "cpu_time", "data_storage")
ROWS = 20_000
"""Sent in each round, in batches of the size."""

_numbers = itertools.count()
_ids = itertools.count(1)

RECORD_COLUMNS = (
    "id, user_id, meter_id, quantity, occurred_at, created_at, recorded_by_id, idempotency_key"
)
KEY_COLUMNS = "key_hash, record_id, fingerprint"


def measure(place: Place, run: Run) -> Iterator[Result]:
    """Yield each size of a batch, in records a second."""
    limit_name = "COPY, same tables" if place.database == "postgresql" else "executemany"
    with (
        place.serving() as web,
        baseline.serving(run.baseline, place.database) as before,
        open_place(place.database) as bare,
    ):
        for size in SIZES:
            post, insert = posting(web, size), inserting(bare, size)
            post_before = posting(before, size) if before else None
            for warm_up in filter(None, (post, post_before)):
                warm_up()
            figure, limit, other, _ = alternate(run.rounds, post, insert, baseline=post_before)
            name = f"records in batches of {size:,}"
            yield Result(name, "/s", figure, limit_name, limit, other)


def posting(target: Target, size: int) -> Round:
    """Return a round that posts ROWS records in batches of the size, and gives the rate."""
    address = urlsplit(target.url).netloc

    def post_all() -> int:
        with closing(HTTPConnection(address, timeout=120)) as connection:
            for body in bodies:
                connection.request("POST", "/api/v1/usage/batch", body, target.headers)
                answer = json.loads(connection.getresponse().read())
                if answer["accepted"] != size:
                    raise RuntimeError(f"{answer['accepted']} of {size} were accepted")
        return size * len(bodies)

    def timed() -> Sample:
        bodies[:] = [_body(target.users, size) for _ in range(ROWS // size)]
        return rate(post_all)()

    bodies: list[bytes] = []
    return metered(timed, target)


def _body(users: Sequence[int], size: int) -> bytes:
    now, prefix = datetime.now(UTC), secrets.token_hex(6)
    records = [
        {
            "quantity": 1 + number % 20,
            "event": EVENTS[number % 4],
            "user_id": users[number % len(users)],
            "idempotency_key": f"{prefix}-{number}",
            "occurred_at": (now - timedelta(minutes=number % 20_000)).isoformat(),
        }
        for number in itertools.islice(_numbers, size)
    ]
    return json.dumps({"records": records}).encode()


def inserting(place: Place, size: int) -> Round:
    """Return a round that puts as many rows into the tables by the quickest means there is."""
    insert = _copy if place.database == "postgresql" else _insert_many

    def timed() -> Sample:
        batches = [_rows(place, size) for _ in range(ROWS // size)]
        return rate(lambda: insert(place, batches))()

    return timed


Batch = tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]


def _rows(place: Place, size: int) -> Batch:
    now = datetime.now(UTC)
    records = [
        (number, place.customers[number % len(place.customers)], 1 + number % 4, 1, now, now,
         place.provider.id, f"limit-{number}")
        for number in itertools.islice(_ids, size)
    ]  # fmt: skip
    keys = [(secrets.token_bytes(16), record[0], bytes(16)) for record in records]
    return records, keys


def _copy(place: Place, batches: Sequence[Batch]) -> int:
    url = place.site.settings.sqlalchemy_url.replace("+psycopg", "")
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        for records, hashed in batches:
            keys = [(UUID(bytes=key), *rest) for key, *rest in hashed]
            for table, columns, rows in (
                ("usage_keys", KEY_COLUMNS, keys),
                ("usage_records", RECORD_COLUMNS, records),
            ):
                with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                    for row in rows:
                        copy.write_row(row)
            connection.commit()
    return sum(len(records) for records, _ in batches)


def _insert_many(place: Place, batches: Sequence[Batch]) -> int:
    path = place.site.folder / "billtrack.db"
    with closing(sqlite3.connect(path, timeout=30)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        for records, keys in batches:
            texts = [(*r[:4], str(r[4])[:26], str(r[5])[:26], *r[6:]) for r in records]
            connection.executemany(f"INSERT INTO usage_keys ({KEY_COLUMNS}) VALUES (?,?,?)", keys)
            connection.executemany(
                f"INSERT INTO usage_records ({RECORD_COLUMNS}) VALUES (?,?,?,?,?,?,?,?)", texts
            )
            connection.commit()
    return sum(len(records) for records, _ in batches)
