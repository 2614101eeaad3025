"""Compare the rollups with the records they were made of, and make them anew where they differ.

Goes from user to user, each in a snapshot of its own, so that it may run beside everything
else. A repair locks the rollups of one user and meter for as long as their records are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby

from sqlalchemy import select

from billtrack import audit
from billtrack.accounts.models import User
from billtrack.core.periods import BillingCalendar
from billtrack.db import end_read, transaction
from billtrack.extensions import db
from billtrack.usage import store
from billtrack.usage.meters import list_meters
from billtrack.usage.store import NOTHING, Total


@dataclass(frozen=True, slots=True)
class Difference:
    """A rollup that is not the sum of its records."""

    user_id: int
    meter_id: int
    event: str
    day: date
    recorded: Total
    rolled_up: Total

    def __str__(self) -> str:
        return (
            f"user {self.user_id}, {self.event}, {self.day}: "
            f"{self.recorded.quantity} in {self.recorded.count} records, "
            f"but {self.rolled_up.quantity} in {self.rolled_up.count} rolled up"
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """What was compared for one user: how many rollups, and those that differ."""

    user_id: int
    rollups: int
    differences: Sequence[Difference]


def verify(*, calendar: BillingCalendar) -> Iterator[Checked]:
    """Compare, user by user, every rollup and every day with records; ascending ids."""
    end_read()
    events = {meter.id: meter.code for meter in list_meters()}
    user_ids = db.session.scalars(select(User.id).order_by(User.id)).all()
    for user_id in user_ids:
        end_read()  # records and rollups of a user are read from one snapshot
        recorded = _by_day(store.recorded_totals(user_id), calendar)
        rolled_up = store.rolled_up_totals(user_id)
        places = recorded.keys() | rolled_up.keys()
        found = [
            Difference(user_id, place[0], events[place[0]], place[1], records, rollup)
            for place in sorted(places)
            if (records := recorded.get(place, NOTHING))
            != (rollup := rolled_up.get(place, NOTHING))
        ]
        yield Checked(user_id, len(places), found)
    end_read()


def repair(
    differences: Sequence[Difference],
    *,
    calendar: BillingCalendar,
    actor: audit.Actor,
    now: datetime,
) -> None:
    """Set the rollups of one user to what its records sum to now, a meter at a time.

    Records that arrive meanwhile wait for the meter, or are counted.
    """
    for meter_id, own in groupby(differences, lambda one: one.meter_id):
        wrong = list(own)
        user_id, days = wrong[0].user_id, [one.day for one in wrong]
        before = {one.day: one.rolled_up.quantity for one in wrong}
        with transaction():
            store.lock_rollups(user_id, meter_id, days)
            recorded = _by_day(store.recorded_totals(user_id, meter_id=meter_id), calendar)
            totals = {day: recorded.get((meter_id, day), NOTHING) for day in days}
            store.set_rollups(user_id, meter_id, totals)
            audit.record(
                "usage.rollups_repaired",
                actor=actor,
                now=now,
                object_type="user",
                object_id=user_id,
                changes={
                    "event": wrong[0].event,
                    **{str(day): audit.Change(before[day], totals[day].quantity) for day in days},
                },
            )


def _by_day(
    totals: Mapping[tuple[int, datetime], Total], calendar: BillingCalendar
) -> dict[tuple[int, date], Total]:
    sums: dict[tuple[int, date], Total] = defaultdict(lambda: NOTHING)
    for (meter_id, instant), total in totals.items():
        place = meter_id, calendar.day_of(instant)
        sums[place] = sums[place] + total
    return dict(sums)
