"""`make bench`: intake, statements and documents on both databases."""

from __future__ import annotations

import itertools
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, text

from bench.measure import Result, compare
from billtrack.accounts.permissions import Role
from billtrack.app import create_app
from billtrack.config import Settings
from billtrack.core.periods import Month
from billtrack.db import transaction
from billtrack.extensions import current_calendar, db
from billtrack.provisioning.initialise import initialise
from billtrack.statements import queries as statements
from billtrack.usage.intake import submit
from billtrack.usage.models import UsageRecord
from billtrack.usage.rules import Terms, UsageInput
from tests.cast import create_user
from tests.conftest import make_settings
from tests.services import start_postgres, unique_name

BATCH = 1000
SINGLES = 200
STATEMENTS = 100

numbers = itertools.count()


def main() -> None:
    """Measure and print the table."""
    print(
        f"{datetime.now(UTC):%Y-%m-%d} · {platform.machine()} · Python {platform.python_version()}"
    )
    with tempfile.TemporaryDirectory() as folder:
        _measure("SQLite", make_settings(Path(folder)))
    server = start_postgres(fsync=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            url = server.create_database(unique_name())
            _measure("PostgreSQL", make_settings(Path(folder), database_url=url))
    finally:
        server.close()


def _measure(name: str, settings: Settings) -> None:
    with _installation(settings) as terms:
        customer = create_user(role=Role.CUSTOMER, email="bench@test.example").id
        print(f"\n{name}")
        for result in _results(terms, customer):
            print(result.row())


def _results(terms: Terms, customer: int) -> Iterator[Result]:
    yield compare(
        f"records, {BATCH} in a batch",
        lambda: _submit(terms, customer, batches=5, size=BATCH),
        limit_name="rows by executemany, same table",
        limit=lambda: _insert_rows(terms, customer, batches=5, size=BATCH),
    )
    yield compare(
        "records, one at a time",
        lambda: _submit(terms, customer, batches=SINGLES, size=1),
        limit_name="rows one at a time, same table",
        limit=lambda: _insert_rows(terms, customer, batches=SINGLES, size=1),
    )
    yield compare(
        "statements of a month",
        lambda: _state(terms, customer),
        limit_name="sums over the rollups in SQL",
        limit=lambda: _sum(customer),
    )


@contextmanager
def _installation(settings: Settings) -> Iterator[Terms]:
    app = create_app(settings)
    with app.app_context():
        initialise(settings, now=datetime.now(UTC))
        provider = create_user(role=Role.PROVIDER, email="recorder@test.example")
        yield Terms(provider.id, datetime.now(UTC), current_calendar(), settings.backfill_days)
        db.session.remove()
        db.engine.dispose()


def _submit(terms: Terms, customer: int, *, batches: int, size: int) -> int:
    for _ in range(batches):
        submit([_item(terms, customer, next(numbers)) for _ in range(size)], terms=terms)
    return batches * size


def _item(terms: Terms, customer: int, number: int) -> UsageInput:
    occurred_at = terms.now - timedelta(minutes=number % 20_000)
    return UsageInput(customer, "api_calls", 1 + number % 1000, occurred_at, f"key-{number}")


def _insert_rows(terms: Terms, customer: int, *, batches: int, size: int) -> int:
    row = {
        "user_id": customer,
        "meter_id": 1,
        "quantity": 1,
        "occurred_at": terms.now,
        "created_at": terms.now,
        "recorded_by_id": terms.recorded_by_id,
    }
    for _ in range(batches):
        with transaction() as session:
            session.execute(insert(UsageRecord), [row] * size)
    return batches * size


def _state(terms: Terms, customer: int) -> int:
    days = Month.of(terms.calendar.today(terms.now)).dates
    asked = statements.Terms(terms.calendar, "USD", terms.now)
    return _repeat(lambda: statements.list_statements([customer], days, terms=asked))


def _sum(customer: int) -> int:
    query = text("SELECT meter_id, sum(quantity) FROM usage_daily WHERE user_id = :u GROUP BY 1")
    return _repeat(lambda: db.session.execute(query, {"u": customer}).all())


def _repeat(run: Callable[[], object]) -> int:
    for _ in range(STATEMENTS):
        run()
    return STATEMENTS


if __name__ == "__main__":
    main()
