"""Daily rollups and the records they are made of: read, compared, locked and set again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    SQLColumnExpression,
    cast,
    delete,
    func,
    select,
    update,
)

from billtrack.platform.extensions import db
from billtrack.platform.upsert import insert_ignore
from billtrack.usage.records.models import UsageDaily, UsageRecord


@dataclass(frozen=True, slots=True)
class Total:
    """A sum of quantities, base units, and how many records it is made of."""

    quantity: int
    count: int

    def __add__(self, other: Total) -> Total:
        """Return the sum of both."""
        return Total(self.quantity + other.quantity, self.count + other.count)


NOTHING = Total(0, 0)

SLOT = 900
"""Seconds: the clocks of the world are set by quarters of an hour, and days begin there."""

Place = tuple[int, str, date]
"""Rollup of a user: meter, variant, billing day"""


def recorded_totals(
    user_id: int, *, meter_id: int | None = None
) -> dict[tuple[int, str, datetime], Total]:
    """Return what the records of a user sum to, by meter, variant and start of a quarter hour."""
    slot = seconds_of(UsageRecord.occurred_at) // SLOT
    what = (UsageRecord.meter_id, UsageRecord.variant, slot)
    query = (
        select(*what, func.sum(UsageRecord.quantity), func.count())
        .where(UsageRecord.user_id == user_id)
        .group_by(*what)
    )
    if meter_id is not None:
        query = query.where(UsageRecord.meter_id == meter_id)
    return {
        (meter, variant, datetime.fromtimestamp(number * SLOT, UTC)): Total(int(quantity), count)
        for meter, variant, number, quantity, count in db.session.execute(query)
    }


def seconds_of(instant: SQLColumnExpression[datetime]) -> ColumnElement[int]:
    """Return the whole seconds of an instant since 1970."""
    if db.session.get_bind().dialect.name == "postgresql":
        seconds: ColumnElement[Any] = func.floor(func.extract("epoch", instant))
    else:
        # Without its fraction, which SQLite would round up into the next second, and day.
        seconds = func.strftime("%s", func.substr(instant, 1, 19))
    return cast(seconds, BigInteger)


def rolled_up_totals(user_id: int) -> dict[Place, Total]:
    """Return the rollups of a user by meter, variant and billing day."""
    what = (UsageDaily.meter_id, UsageDaily.variant, UsageDaily.day)
    query = select(*what, UsageDaily.quantity, UsageDaily.count)
    rows = db.session.execute(query.where(UsageDaily.user_id == user_id))
    return {
        (meter, variant, day): Total(quantity, count)
        for meter, variant, day, quantity, count in rows
    }


def lock_rollups(user_id: int, places: Sequence[Place]) -> None:
    """Make other writers wait for these rollups of one meter, which are there afterwards.

    Lock their months before them: so do all writers.
    """
    rows = [
        {
            "user_id": user_id,
            "meter_id": meter_id,
            "variant": variant,
            "day": day,
            "quantity": 0,
            "count": 0,
        }
        for meter_id, variant, day in sorted(places)
    ]
    insert_ignore(UsageDaily, rows, returning=UsageDaily.day)
    days = [day for _, _, day in places]
    own = (UsageDaily.user_id == user_id, UsageDaily.meter_id == places[0][0])
    locked = select(UsageDaily.day).where(*own, UsageDaily.day.between(min(days), max(days)))
    db.session.execute(locked.order_by(UsageDaily.variant, UsageDaily.day).with_for_update())


def set_rollups(user_id: int, totals: Mapping[Place, Total]) -> None:
    """Write these sums into rollups that are locked; one of nothing is removed."""
    for (meter_id, variant, day), total in totals.items():
        row = (
            UsageDaily.user_id == user_id,
            UsageDaily.meter_id == meter_id,
            UsageDaily.variant == variant,
            UsageDaily.day == day,
        )
        if total == NOTHING:
            db.session.execute(delete(UsageDaily).where(*row))
        else:
            values = {"quantity": total.quantity, "count": total.count}
            db.session.execute(update(UsageDaily).where(*row).values(**values))
