"""Read the usage of many customers at once, in as few rows as it comes in.

A row for each customer and meter, its days as one JSON object, is read four times as fast as
a row for each day; naming the meters lets both databases go through the primary key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import JSON, ColumnElement, Text, cast, func, select

from billtrack.accounts.users.models import User
from billtrack.core.periods import DateRange
from billtrack.platform.extensions import db
from billtrack.usage.records.models import Meter, UsageDaily
from billtrack.usage.records.queries import DailyTotals

DAY = len("2026-11-25")


def read_usage(
    user_ids: Sequence[int], days: DateRange, *, meters: Mapping[int, str]
) -> DailyTotals:
    """Return what these users used on these inclusive days, in one query.

    `meters` are codes by id; at most 500 users, as many parameters as every database takes.
    """
    totals: DailyTotals = {user_id: {} for user_id in user_ids}
    dates = {day.isoformat(): day for day in days}
    query = (
        select(UsageDaily.user_id, UsageDaily.meter_id, _quantities_by_day())
        .where(
            UsageDaily.user_id.in_(user_ids),
            UsageDaily.meter_id.in_(meters),
            UsageDaily.day.between(days.first, days.last),
        )
        .group_by(UsageDaily.user_id, UsageDaily.meter_id)
    )
    for user_id, meter_id, by_day in db.session.execute(query):
        sums = totals[user_id][meters[meter_id]] = {}
        for name, quantity in by_day.items():
            day = dates[name[:DAY]]
            sums[day] = sums.get(day, 0) + quantity
    return totals


def users_with_usage(days: DateRange) -> set[int]:
    """Return the users with any usage on these inclusive days: a look-up for each account."""
    found = select(UsageDaily.day).where(
        UsageDaily.user_id == User.id,
        UsageDaily.meter_id.in_(select(Meter.id)),
        UsageDaily.day.between(days.first, days.last),
    )
    return set(db.session.scalars(select(User.id).where(found.exists())))


def _quantities_by_day() -> ColumnElement[dict[str, int]]:
    """Return quantities by the text of a day and the variant after it."""
    if db.session.get_bind().dialect.name == "postgresql":
        name = func.to_char(UsageDaily.day, "YYYY-MM-DD") + UsageDaily.variant
        return func.json_object_agg(name, UsageDaily.quantity, type_=JSON())
    name = cast(UsageDaily.day, Text) + UsageDaily.variant
    return func.json_group_object(name, UsageDaily.quantity, type_=JSON())
