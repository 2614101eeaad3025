"""Count what a database holds, so that two databases can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, func, inspect, select, table

from billtrack.core.errors import InvalidError
from billtrack.documents.reports.models import Report
from billtrack.entrypoints.backups.manifest import Totals, UsageTotal
from billtrack.platform.installation.models import Installation
from billtrack.usage.records.models import KEY_PARTITIONS, Meter, UsageDaily, UsageRecord

BILLION = 10**9


@dataclass(frozen=True, slots=True)
class Facts:
    """What one snapshot of a database holds, and the paths of the documents that it names."""

    revision: str
    timezone: str
    totals: Totals
    documents: frozenset[str]


def read_facts(connection: Connection) -> Facts:
    """Return what the database says in the current transaction; raises InvalidError.

    Asks only for what every schema since the first has: the programs may be newer than it.
    """
    revision = MigrationContext.configure(connection).get_current_revision()
    timezone = connection.scalar(select(Installation.timezone)) if revision else None
    if revision is None or timezone is None:
        raise InvalidError("This database is not set up: run billtrack init first.")
    named = connection.scalars(select(Report.path).where(Report.path.is_not(None)))
    return Facts(revision, timezone, take_totals(connection), frozenset(map(str, named)))


def take_totals(connection: Connection) -> Totals:
    """Count every table that is there, known to the models or not."""
    names = {*inspect(connection).get_table_names()} - {*KEY_PARTITIONS}
    rows = {
        name: connection.scalar(select(func.count()).select_from(table(name))) or 0
        for name in sorted(names)
    }
    return Totals(
        rows=rows,
        recorded=_by_event(recorded_totals(connection)),
        rolled_up=_by_event(rolled_up_totals(connection)),
    )


def recorded_totals(connection: Connection) -> Mapping[tuple[int, str], UsageTotal]:
    """Sum the records of every user and event."""
    return _totals(connection, UsageRecord, func.count())


def rolled_up_totals(connection: Connection) -> Mapping[tuple[int, str], UsageTotal]:
    """Sum the daily rollups of every user and event."""
    return _totals(connection, UsageDaily, func.sum(UsageDaily.count))


def _totals(
    connection: Connection, model: type[UsageRecord | UsageDaily], count: Any
) -> Mapping[tuple[int, str], UsageTotal]:
    # SQLite adds in 64 bits, which a few days of 10^18 exceed: in two parts it cannot happen.
    billions = func.sum(model.quantity // BILLION)
    rest = func.sum(model.quantity % BILLION)
    query = (
        select(model.user_id, Meter.code, count, billions, rest)
        .join(Meter, Meter.id == model.meter_id)
        .group_by(model.user_id, Meter.code)
    )
    return {
        (user_id, event): UsageTotal(records=int(records), quantity=int(high) * BILLION + int(low))
        for user_id, event, records, high, low in connection.execute(query)
    }


def _by_event(totals: Mapping[tuple[int, str], UsageTotal]) -> dict[str, UsageTotal]:
    sums: dict[str, UsageTotal] = {}
    for (_, event), total in sorted(totals.items()):
        before = sums.get(event, UsageTotal(records=0, quantity=0))
        sums[event] = UsageTotal(
            records=before.records + total.records, quantity=before.quantity + total.quantity
        )
    return sums
