"""`python -m bench.overview`: pages over all customers, at the size of a busy installation.

1,000 customers with 13 months of rollups, 1.6 million rows, on both databases; with
`--records 10000000` as many usage records besides. Each figure stands beside an empty query.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from fractions import Fraction
from functools import partial
from pathlib import Path

from sqlalchemy import text

from bench.crowd import FIRST_ID, Size, build
from bench.measure import Result, alternate, milliseconds
from bench.pages import open_browser
from bench.places import Place
from bench.run import Run
from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.billing.month_totals.counting import count_month
from billtrack.billing.month_totals.months import list_month_totals
from billtrack.billing.month_totals.operations import refresh
from billtrack.billing.month_totals.queries import get_overview, list_costs
from billtrack.billing.statements.queries import Terms, read_given
from billtrack.core.periods import DateRange, Month
from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.setup.initialise import initialise
from billtrack.platform.config import Settings
from billtrack.platform.db import end_read, transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.usage.records.queries import RecordFilter, count_records, list_records
from tests.billing.pricing.test_forecast import backtest
from tests.conftest import make_settings
from tests.services import start_postgres, unique_name

ROUNDS = 15
EVERYTHING = Reach(Breadth.ALL, user_id=0)


def measure(place: Place, run: Run) -> Iterator[Result]:
    """Yield the overview page beside the page with least on it, in milliseconds."""
    with place.site.inside():
        terms = Terms(current_calendar(), "USD", datetime.now(UTC))
        build(terms, Size(run.customers, 0))
        refresh(terms=terms)
        get = open_browser(now=terms.now)
        get("/")
        figure, limit, *_ = alternate(
            run.rounds,
            milliseconds(partial(get, "/"), times=5),
            milliseconds(partial(get, "/settings/profile"), times=5),
        )
        yield Result("overview page, server time", "ms", figure, "the profile page", limit)


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
        build(terms, size)
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


if __name__ == "__main__":
    main()
