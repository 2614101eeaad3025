"""Compare rollups with the records they are made of, and set them again where they differ.

Daily rollups are compared with records, monthly rollups with daily ones. It goes from user to
user, each in a snapshot of its own, so that it may run beside everything else. A repair locks
the rollups of one user and meter for as long as their records are read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter

from sqlalchemy import select

from billtrack.accounts.users.models import User
from billtrack.core.periods import BillingCalendar
from billtrack.platform import audit
from billtrack.platform.db import end_read, transaction
from billtrack.platform.extensions import db
from billtrack.usage.records import rollups
from billtrack.usage.records.meters import list_meters
from billtrack.usage.records.months import lock_months, monthly_totals, set_month, sums_of_rollups
from billtrack.usage.records.rollups import NOTHING, Place, Total


@dataclass(frozen=True, slots=True)
class Difference:
    """A rollup that is not the sum of its records."""

    user_id: int
    meter_id: int
    event: str
    day: date
    recorded: Total
    rolled_up: Total
    variant: str = ""

    def __str__(self) -> str:
        kind = f" {self.variant}" if self.variant else ""
        return (
            f"user {self.user_id}, {self.event}{kind}, {self.day}: "
            f"{self.recorded.quantity} in {self.recorded.count} records, "
            f"but {self.rolled_up.quantity} in {self.rolled_up.count} rolled up"
        )


@dataclass(frozen=True, slots=True)
class MonthDifference:
    """A monthly rollup that is not the sum of its daily ones, base units."""

    user_id: int
    meter_id: int
    event: str
    month: date
    days: int
    rolled_up: int

    def __str__(self) -> str:
        return (
            f"user {self.user_id}, {self.event}, {self.month:%Y-%m}: "
            f"{self.days} in daily rollups, but {self.rolled_up} in the monthly one"
        )


Finding = Difference | MonthDifference


@dataclass(frozen=True, slots=True)
class Checked:
    """What was compared for one user: how many rollups, and those that differ."""

    user_id: int
    rollups: int
    differences: Sequence[Finding]


def verify(*, calendar: BillingCalendar) -> Iterator[Checked]:
    """Compare, user by user, every rollup and every day with records; ascending ids."""
    end_read()
    events = {meter.id: meter.code for meter in list_meters()}
    user_ids = db.session.scalars(select(User.id).order_by(User.id)).all()
    for user_id in user_ids:
        end_read()  # records and rollups of a user are read from one snapshot
        recorded = _by_day(rollups.recorded_totals(user_id), calendar)
        rolled_up = rollups.rolled_up_totals(user_id)
        places = recorded.keys() | rolled_up.keys()
        found = [
            Difference(user_id, meter_id, events[meter_id], day, records, rollup, variant)
            for meter_id, variant, day in sorted(places)
            if (records := recorded.get((meter_id, variant, day), NOTHING))
            != (rollup := rolled_up.get((meter_id, variant, day), NOTHING))
        ]
        days, months = sums_of_rollups(user_id), monthly_totals(user_id)
        wrong = [
            MonthDifference(user_id, meter_id, events[meter_id], month, by_days, by_month)
            for meter_id, month in sorted(days.keys() | months.keys())
            if (by_days := days.get((meter_id, month), 0))
            != (by_month := months.get((meter_id, month), 0))
        ]
        yield Checked(user_id, len(places), [*found, *wrong])
    end_read()


def repair(
    differences: Sequence[Finding],
    *,
    calendar: BillingCalendar,
    actor: audit.Actor,
    now: datetime,
) -> None:
    """Set the rollups of one user to what its records sum to now, a meter at a time.

    Records that arrive meanwhile wait for the meter, or are counted.
    """
    for meter_id, own in groupby(
        sorted(differences, key=attrgetter("meter_id")), attrgetter("meter_id")
    ):
        wrong = list(own)
        user_id = wrong[0].user_id
        with transaction():
            changes = _repair_meter(user_id, meter_id, wrong, calendar)
            audit.record(
                "usage.rollups_repaired",
                actor=actor,
                now=now,
                object_type="user",
                object_id=user_id,
                changes={"event": wrong[0].event, **changes},
            )


def _repair_meter(
    user_id: int,
    meter_id: int,
    wrong: Sequence[Finding],
    calendar: BillingCalendar,
) -> dict[str, audit.Change]:
    """Set days, then their months; return how each that was found wrong has changed."""
    days = {(meter_id, one.variant, one.day): one for one in wrong if isinstance(one, Difference)}
    months = {one.month: one for one in wrong if isinstance(one, MonthDifference)}
    touched = months.keys() | {one.day.replace(day=1) for one in days.values()}
    lock_months(user_id, meter_id, touched)
    changes: dict[str, audit.Change] = {}
    if days:
        rollups.lock_rollups(user_id, list(days))
        recorded = _by_day(rollups.recorded_totals(user_id, meter_id=meter_id), calendar)
        totals = {place: recorded.get(place, NOTHING) for place in days}
        rollups.set_rollups(user_id, totals)
        for place, one in days.items():
            name = f"{one.day} {one.variant}".strip()
            changes[name] = audit.Change(one.rolled_up.quantity, totals[place].quantity)
    for month in sorted(touched):
        total = set_month(user_id, meter_id, month)
        if month in months:
            changes[f"{month:%Y-%m}"] = audit.Change(months[month].rolled_up, total)
    return changes


def _by_day(
    totals: Mapping[tuple[int, str, datetime], Total], calendar: BillingCalendar
) -> dict[Place, Total]:
    sums: dict[Place, Total] = defaultdict(lambda: NOTHING)
    for (meter_id, variant, instant), total in totals.items():
        place = meter_id, variant, calendar.day_of(instant)
        sums[place] = sums[place] + total
    return dict(sums)
