"""Many customers with 13 months of usage, made by the database itself.

With records, their rollups are the sums of the records, as billtrack keeps them; without,
rollups are made up, which is much quicker and the same to all that reads only them.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from sqlalchemy import insert, text

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Role
from billtrack.billing.plans.models import Subscription
from billtrack.billing.plans.operations import create_plan, create_version, publish_version
from billtrack.billing.plans.queries import get_plan
from billtrack.billing.plans.standard import standard_charges
from billtrack.billing.statements.queries import Terms
from billtrack.platform import audit
from billtrack.platform.db import end_read, transaction
from billtrack.platform.extensions import db

DAYS_BACK = 395
SECONDS_OF_DAY = 86_400
FIRST_ID = 1000

DAY = {
    "sqlite": "date(:first, '+' || d.n || ' days')",
    "postgresql": "CAST(CAST(:first AS text) AS date) + d.n",
}
INSTANT = {
    "sqlite": (
        "strftime('%Y-%m-%d %H:%M:%S.000000', :first, "
        "'+' || CAST(n * :step AS INTEGER) || ' seconds')"
    ),
    "postgresql": "CAST(CAST(:first AS text) AS timestamptz) + n * :step * interval '1 second'",
}
NUMBERS = "WITH RECURSIVE d(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM d WHERE n < :last)"


SUMS = {
    name: "INSERT INTO usage_daily (user_id, meter_id, day, quantity, count) "
    f"SELECT user_id, meter_id, {day}, sum(quantity), count(*) FROM usage_records "
    "GROUP BY 1, 2, 3 ORDER BY 3, 1, 2"
    for name, day in (
        ("sqlite", "date(occurred_at)"),
        ("postgresql", "CAST(occurred_at AT TIME ZONE 'UTC' AS date)"),
    )
}


@dataclass(frozen=True, slots=True)
class Size:
    """How much to make."""

    customers: int
    records: int


def build(terms: Terms, size: Size) -> None:
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
    made_up = (
        f"INSERT INTO usage_daily (user_id, meter_id, day, quantity, count) {NUMBERS} "
        f"SELECT u.id, m.id, {DAY[dialect]}, "
        "1000 * (1 + u.id % 97) * (5 + (d.n * 7 + m.id) % 11), 6 "
        "FROM d CROSS JOIN users u CROSS JOIN meters m WHERE u.id >= :id ORDER BY d.n, u.id, m.id"
    )
    records = (
        "INSERT INTO usage_records (id, user_id, meter_id, quantity, occurred_at, created_at, "
        f"recorded_by_id) {NUMBERS} SELECT n + 1, :id + n % :customers, "
        "1 + (n / :customers) % 4, 200 * (1 + n % 97) * (5 + n * 7 % 11), "
        f"{INSTANT[dialect]}, {INSTANT[dialect]}, :id FROM d"
    )
    values = {"first": first.isoformat(), "id": FIRST_ID}
    if not size.records:
        insert_unchecked(dialect, made_up, values | {"last": DAYS_BACK})
        return
    step = DAYS_BACK * SECONDS_OF_DAY / size.records
    more = {"last": size.records - 1, "customers": size.customers, "step": step}
    insert_unchecked(dialect, records, values | more)
    insert_unchecked(dialect, SUMS[dialect], {})


def insert_unchecked(dialect: str, statement: str, values: dict[str, object]) -> None:
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
