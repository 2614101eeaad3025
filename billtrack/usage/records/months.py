"""Sums of months as usage_monthly has them: read, locked and set again from usage_daily."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from datetime import date

from sqlalchemy import delete, select, update

from billtrack.core.periods import Month
from billtrack.platform.extensions import db
from billtrack.platform.upsert import insert_ignore
from billtrack.usage.records.models import MAX_BIGINT, MAX_TOTAL, UsageDaily, UsageMonthly

MonthPlace = tuple[int, date]
"""Monthly rollup of a user: meter, first day of the month"""


def monthly_totals(user_id: int) -> dict[MonthPlace, int]:
    """Return the monthly rollups of a user, base units."""
    what = (UsageMonthly.meter_id, UsageMonthly.month, UsageMonthly.quantity)
    rows = db.session.execute(select(*what).where(UsageMonthly.user_id == user_id))
    return {(meter_id, month): quantity for meter_id, month, quantity in rows}


def sums_of_rollups(user_id: int) -> dict[MonthPlace, int]:
    """Return what the daily rollups of a user sum to by month, at most 2^63 - 1 base units."""
    what = (UsageDaily.meter_id, UsageDaily.day, UsageDaily.quantity)
    sums: dict[MonthPlace, int] = defaultdict(int)
    for meter_id, day, quantity in db.session.execute(
        select(*what).where(UsageDaily.user_id == user_id)
    ):
        sums[meter_id, day.replace(day=1)] += quantity
    return {place: min(total, MAX_BIGINT) for place, total in sums.items()}


def lock_months(user_id: int, meter_id: int, months: Collection[date]) -> None:
    """Make other writers wait for these monthly rollups, which are there afterwards."""
    rows = [
        {"user_id": user_id, "meter_id": meter_id, "month": month, "quantity": 0}
        for month in sorted(months)
    ]
    insert_ignore(UsageMonthly, rows, returning=UsageMonthly.month)
    own = (UsageMonthly.user_id == user_id, UsageMonthly.meter_id == meter_id)
    locked = select(UsageMonthly.month).where(*own, UsageMonthly.month.in_(months))
    db.session.execute(locked.order_by(UsageMonthly.month).with_for_update())


def set_month(user_id: int, meter_id: int, month: date) -> int:
    """Set a monthly rollup that is locked to the sum of its days; return it in base units.

    A month without days is removed. One beyond 10^18 may only shrink from there.
    """
    days = (
        UsageDaily.user_id == user_id,
        UsageDaily.meter_id == meter_id,
        UsageDaily.day.between(month, Month.of(month).last),
    )
    quantities = db.session.scalars(select(UsageDaily.quantity).where(*days)).all()
    row = (
        UsageMonthly.user_id == user_id,
        UsageMonthly.meter_id == meter_id,
        UsageMonthly.month == month,
    )
    total = min(sum(quantities), MAX_BIGINT)
    if quantities:
        values = {"quantity": total, "ceiling": max(total, MAX_TOTAL)}
        db.session.execute(update(UsageMonthly).where(*row).values(**values))
    else:
        db.session.execute(delete(UsageMonthly).where(*row))
    return total
