"""`python -m bench.overview`: pages over all customers, at the size of a busy installation.

1,000 customers with 13 months of rollups, 1.6 million rows, on both databases; with
`--records 10000000` as many usage records besides. Each figure stands beside an empty query.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import partial
from pathlib import Path

from sqlalchemy import insert, text

from bench.pages import open_browser
from billtrack import audit
from billtrack.accounts.models import User
from billtrack.accounts.permissions import Breadth, Reach, Role
from billtrack.app import create_app
from billtrack.config import Settings
from billtrack.core.periods import DateRange, Month
from billtrack.db import end_read, transaction
from billtrack.extensions import current_calendar, db
from billtrack.plans.models import Subscription
from billtrack.plans.operations import create_plan, create_version, publish_version
from billtrack.plans.queries import get_plan
from billtrack.plans.standard import standard_charges
from billtrack.provisioning.initialise import initialise
from billtrack.statements.queries import Terms, read_given
from billtrack.summaries.counting import count_month
from billtrack.summaries.months import list_month_totals
from billtrack.summaries.operations import refresh
from billtrack.summaries.queries import get_overview, list_costs
from billtrack.usage.queries import RecordFilter, count_records, list_records
from tests.conftest import make_settings
from tests.pricing.test_forecast import backtest
from tests.services import start_postgres, unique_name

DAYS_BACK = 395
ROUNDS = 15
FIRST_ID = 1000
EVERYTHING = Reach(Breadth.ALL, user_id=0)

DAY = {
    "sqlite": "date(:first, '+' || d.n || ' days')",
    "postgresql": "CAST(CAST(:first AS text) AS date) + d.n",
}
INSTANT = {
    "sqlite": "strftime('%Y-%m-%d %H:%M:%S.000000', :first, '+' || n || ' seconds')",
    "postgresql": "CAST(CAST(:first AS text) AS timestamptz) + n * interval '1 second'",
}
NUMBERS = "WITH RECURSIVE d(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM d WHERE n < :last)"


@dataclass(frozen=True, slots=True)
class Size:
    """How much to make."""

    customers: int
    records: int


def main() -> None:
    """Measure and print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--customers", type=int, default=1000)
    parser.add_argument("--records", type=int, default=0)
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    asked = parser.parse_args()
    size = Size(asked.customers, asked.records)
    _print_backtest()
    if asked.database != "postgresql":
        with tempfile.TemporaryDirectory() as folder:
            _measure("SQLite", make_settings(Path(folder)), size)
    if asked.database != "sqlite":
        server = start_postgres(fsync=True)
        try:
            with tempfile.TemporaryDirectory() as folder:
                url = server.create_database(unique_name())
                _measure("PostgreSQL", make_settings(Path(folder), database_url=url), size)
        finally:
            server.close()


def _print_backtest() -> None:
    print("Forecast of a month's revenue, mean absolute error in percent (demo year)")
    heads = ("naive", "ours", "naive, by customer", "ours", "in band")
    print(f"{'through day':<14}" + "".join(f"{head:>20}" for head in heads))
    for day, found in backtest().items():
        shares = (found.naive, found.ours, found.naive_by_customer, found.ours_by_customer)
        columns = [*map(_percent, shares), f"{found.within_band}/{found.months}"]
        print(f"{day:<14}" + "".join(f"{column:>20}" for column in columns))


def _percent(share: Fraction) -> str:
    return f"{float(100 * share):.2f}"


def _measure(name: str, settings: Settings, size: Size) -> None:
    with _installation(settings) as terms:
        started = time.perf_counter()
        _build(terms, size)
        rollups = db.session.scalar(text("SELECT count(*) FROM usage_daily"))
        took = time.perf_counter() - started
        print(f"\n{name}: {size.customers:,} customers, {rollups:,} rollup rows, "
              f"{size.records:,} records, made in {took:.1f} s")  # fmt: skip
        for label, run, rounds in _figures(terms):
            print(f"{label:<54}{_median_ms(run, rounds):>10.2f} ms")


def _figures(terms: Terms) -> Iterator[tuple[str, Callable[[], object], int]]:
    today = terms.calendar.today(terms.now)
    days = DateRange(Month.of(today).first, today)
    user_id = FIRST_ID + 7
    empty = text("SELECT 1")
    yield "an empty query", lambda: db.session.scalar(empty), ROUNDS
    yield "overview, counted now", lambda: count_month(days, terms=terms), 3
    yield "refresh", lambda: _refresh_again(terms), 3
    refresh(terms=terms)
    yield "overview, from the summary", lambda: get_overview(days, terms=terms), ROUNDS
    yield "costs of all customers, from the summary", lambda: list_costs(days, terms=terms), ROUNDS
    yield "newest records and today's count", lambda: _newest(terms, today), ROUNDS
    yield (
        "one customer: statement and daily costs",
        lambda: _one_customer(user_id, days, terms),
        ROUNDS,
    )
    yield "one customer: last 13 months", lambda: list_month_totals([user_id], today), ROUNDS
    get = open_browser(now=terms.now)
    for path in ("/settings/profile", "/", "/customers", f"/customers/{user_id}", "/usage"):
        refresh(terms=replace(terms, now=datetime.now(UTC)))  # as a worker does all the time
        yield f"page {path}", partial(get, path), ROUNDS


def _newest(terms: Terms, today: date) -> None:
    list_records(reach=EVERYTHING, matching=RecordFilter(), calendar=terms.calendar, limit=8)
    count_records(today, reach=EVERYTHING)


def _one_customer(user_id: int, days: DateRange, terms: Terms) -> None:
    given = read_given([user_id], days)
    given.statement(user_id, terms=terms)
    given.daily_costs(user_id)


def _refresh_again(terms: Terms) -> None:
    with transaction() as session:
        session.execute(text("DELETE FROM month_summaries"))
    refresh(terms=terms)


def _median_ms(run: Callable[[], object], rounds: int) -> float:
    run()
    taken = []
    for _ in range(rounds):
        end_read()  # a request begins with a snapshot of its own
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return 1000 * statistics.median(taken)


@contextmanager
def _installation(settings: Settings) -> Iterator[Terms]:
    app = create_app(settings)
    with app.app_context():
        now = datetime.now(UTC)
        initialise(settings, now=now)
        yield Terms(current_calendar(), "USD", now)
        db.session.remove()
        db.engine.dispose()


def _build(terms: Terms, size: Size) -> None:
    """Make customers, one in ten of them in euros, one in a hundred without a plan; and usage."""
    today = terms.calendar.today(terms.now)
    first = today - timedelta(days=DAYS_BACK)
    with transaction() as session:
        create_plan(actor=audit.Actor(), now=terms.now, code="eu", name="EU", currency="EUR")
        version = create_version(
            "eu", actor=audit.Actor(), now=terms.now, charges=standard_charges()
        )
        publish_version(
            "eu", version.number, actor=audit.Actor(), now=terms.now, effective_from=first
        )
        users = [_user(number, terms.now) for number in range(size.customers)]
        session.execute(insert(User), users)
        plans = [get_plan("eu").id, *[get_plan("standard").id] * 9]
        session.execute(
            insert(Subscription),
            [
                {
                    "user_id": FIRST_ID + number,
                    "plan_id": plans[number % 10],
                    "starts_on": first.replace(day=1),
                    "created_at": terms.now,
                }
                for number in range(size.customers)
                if number % 100 != 1
            ],
        )
    _insert_usage(first, size)


def _user(number: int, now: datetime) -> dict[str, object]:
    return {
        "id": FIRST_ID + number,
        "email": f"customer-{number}@bench.example",
        "name": f"Customer {number}",
        "role": Role.CUSTOMER,
        "created_at": now,
    }


def _insert_usage(first: date, size: Size) -> None:
    dialect = db.engine.dialect.name
    rollups = (
        f"INSERT INTO usage_daily (user_id, meter_id, day, quantity, count) {NUMBERS} "
        f"SELECT u.id, m.id, {DAY[dialect]}, "
        "1000 * (1 + u.id % 97) * (5 + (d.n * 7 + m.id) % 11), 6 "
        "FROM d CROSS JOIN users u CROSS JOIN meters m WHERE u.id >= :id ORDER BY d.n, u.id, m.id"
    )
    records = (
        "INSERT INTO usage_records (id, user_id, meter_id, quantity, occurred_at, created_at, "
        f"recorded_by_id) {NUMBERS} SELECT n + 1, :id + n % :customers, 1 + n % 4, 1 + n % 1000, "
        f"{INSTANT[dialect]}, {INSTANT[dialect]}, :id FROM d"
    )
    values = {"first": first.isoformat(), "last": DAYS_BACK, "id": FIRST_ID}
    _insert(dialect, rollups, values)
    if size.records:
        more = {"last": size.records - 1, "customers": size.customers}
        _insert(dialect, records, values | more)


def _insert(dialect: str, statement: str, values: dict[str, object]) -> None:
    """Insert without looking up what the rows refer to, which is there: millions of look-ups."""
    end_read()
    if dialect == "postgresql":
        with transaction() as session:
            session.execute(text("SET LOCAL session_replication_role = replica"))
            session.execute(text(statement), values)
            session.execute(text("ANALYZE"))
        return
    with closing(sqlite3.connect(str(db.engine.url.database))) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -1000000")
        connection.execute(statement, values)


if __name__ == "__main__":
    main()
