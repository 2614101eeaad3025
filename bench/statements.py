"""Statements: one over HTTP's shoulder, and those of all customers for a month.

Among as many records as the run was asked for. Beside the same sums in one SQL query over the
daily rollups, which is all that a statement has to read of usage.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime

from flask import current_app
from sqlalchemy import text

from bench.crowd import FIRST_ID, Size, build
from bench.measure import Result, alternate, milliseconds
from bench.places import Place
from bench.run import Run
from billtrack.accounts.users.permissions import Role
from billtrack.billing.statements.queries import Terms, list_statements
from billtrack.core.periods import DateRange, Month
from billtrack.platform.db import end_read
from billtrack.platform.extensions import current_calendar, db
from billtrack.platform.process import settle
from tests.scenarios.accounts import Account, create_account

ONE_GOAL = 5.0
ALL_GOAL = 500.0

SUM_OF_ONE = (
    "SELECT meter_id, sum(quantity) FROM usage_daily "
    "WHERE user_id = :user AND day BETWEEN :first AND :last GROUP BY meter_id"
)
SUM_OF_ALL = (
    "SELECT user_id, meter_id, sum(quantity) FROM usage_daily "
    "WHERE day BETWEEN :first AND :last GROUP BY user_id, meter_id"
)


def measure(place: Place, run: Run) -> Iterator[Result]:
    """Yield the statement of one customer and those of all of them, in milliseconds."""
    with place.site.inside():
        terms = Terms(current_calendar(), "USD", datetime.now(UTC))
        run.note(f"{place.database}: {fill(terms, run)}")
        manager = create_account(place.site, Role.MANAGER, "manager@bench.example")
        month = Month.of(terms.calendar.today(terms.now)).previous
        user = FIRST_ID + 7
        path = f"/api/v1/users/{user}/statement?month={month}"
        settle()  # as the web server does when it has started
        one = milliseconds(lambda: _get(path, manager), times=20)
        one_sum = milliseconds(lambda: _sum(SUM_OF_ONE, month.dates, user), times=20)
        one()
        figure, limit, *_ = alternate(run.rounds, one, one_sum)
        yield Result("statement, whole request without network", "ms", figure,
                     "its sums in SQL", limit, goal=ONE_GOAL)  # fmt: skip
        ids = range(FIRST_ID, FIRST_ID + run.customers)
        every = milliseconds(lambda: _state_all(ids, month.dates, terms))
        every()
        figure, limit, *_ = alternate(
            run.rounds, every, milliseconds(lambda: _sum(SUM_OF_ALL, month.dates))
        )
        yield Result(f"statements of {run.customers:,} customers, a month", "ms", figure,
                     "their sums in SQL", limit, goal=ALL_GOAL)  # fmt: skip


def fill(terms: Terms, run: Run) -> str:
    """Make customers and usage; return what was made."""
    started = time.perf_counter()
    build(terms, Size(run.customers, run.records))
    rollups = db.session.scalar(text("SELECT count(*) FROM usage_daily"))
    took = time.perf_counter() - started
    end_read()
    return (
        f"{run.customers:,} customers, {run.records:,} records in {rollups:,} daily totals, "
        f"made in {took:.0f} s"
    )


def _state_all(ids: range, days: DateRange, terms: Terms) -> None:
    end_read()
    if len(list_statements(list(ids), days, terms=terms)) != len(ids):
        raise RuntimeError("a statement is missing")


def _sum(query: str, days: DateRange, user: int | None = None) -> None:
    end_read()
    values: dict[str, date | int] = {"first": days.first, "last": days.last}
    if user is not None:
        values["user"] = user
    db.session.execute(text(query), values).all()


def _get(path: str, asker: Account) -> None:
    headers = {"Authorization": f"Bearer {asker.key}"}
    answer = current_app.test_client(use_cookies=False).get(path, headers=headers)
    if answer.status_code != 200:
        raise RuntimeError(f"{path}: {answer.status}")
