"""What was noted as rows; in the transaction of `writing`.

Sums are written in sorted order, so that two writers never wait for each other in a circle.
Nothing is stored for an account that is not there any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import case, func, select

from billtrack.accounts.users.queries import find_activity
from billtrack.platform.db import Base
from billtrack.platform.extensions import db
from billtrack.platform.upsert import upsert
from billtrack.usage.sources.models import RejectedRecord, UsageSource, UsageSourceHour
from billtrack.usage.sources.pending import MOST_KEPT, RefusedRow
from billtrack.usage.sources.tally import Hour, hour_of

COUNTED = ("accepted", "late", "duplicate", "conflict", "rejected", "reversed")
LATEST = ("user_id", "item", "is_whole", "code", "detail", "errors", "last_received_at")


def add_sources(hours: Collection[Hour]) -> None:
    """Note when sources were seen; one that is seen later than it was is not silent."""

    def changes(excluded: Any) -> dict[str, Any]:
        first, first_known = excluded.first_seen_at, UsageSource.first_seen_at
        seen, known = excluded.last_seen_at, UsageSource.last_seen_at
        return {
            "first_seen_at": case((first < first_known, first), else_=first_known),
            "last_seen_at": case((seen > known, seen), else_=known),
            "silent_since_at": case((seen > known, None), else_=UsageSource.silent_since_at),
        }

    _upsert(UsageSource, _spans(hours), key=["account_id"], changes=changes)


def add_hours(hours: Collection[Hour]) -> None:
    """Add the counts to those of the same hours."""
    rows = [
        {
            "account_id": source,
            "starts_at": hour.starts_at,
            **{name: hour.counts.get((source, name), 0) for name in COUNTED},
        }
        for hour in sorted(hours, key=lambda hour: hour.starts_at)
        for source in sorted({source for source, _ in hour.counts})
    ]

    def sums(excluded: Any) -> dict[str, Any]:
        return {name: getattr(UsageSourceHour, name) + excluded[name] for name in COUNTED}

    _upsert(UsageSourceHour, rows, key=["account_id", "starts_at"], changes=sums)


def add_refused(refused: Sequence[RefusedRow]) -> None:
    """Keep refused records, as many of each source and hour as there is room for.

    One that comes again under its key is the same row, with what was sent last; not any more
    once it was replayed.
    """

    def changes(excluded: Any) -> dict[str, Any]:
        latest = {name: excluded[name] for name in LATEST}
        return {**latest, "times": RejectedRecord.times + excluded.times}

    # In the order in which they came, which their ids keep. Two processes that are sent the same
    # keys at the same moment may wait for each other; the one that gives up tries it again.
    _upsert(
        RejectedRecord,
        list(_within_bounds(refused)),
        key=["key_hash"],
        changes=changes,
        where=lambda _: RejectedRecord.record_id.is_(None),
    )


def _spans(hours: Collection[Hour]) -> list[dict[str, Any]]:
    """Return the first and last instant at which each source was seen, by source."""
    first: dict[int, datetime] = {}
    last: dict[int, datetime] = {}
    for hour in hours:
        for source, at in hour.first.items():
            first[source] = min(at, first.get(source, at))
        for source, at in hour.last.items():
            last[source] = max(at, last.get(source, at))
    return [
        {"account_id": source, "first_seen_at": first[source], "last_seen_at": last[source]}
        for source in sorted(last)
    ]


def _within_bounds(rows: Sequence[RefusedRow]) -> Iterator[dict[str, Any]]:
    """Yield the rows that are there by their key, and those for which there is room.

    Other processes may have filled the hour.
    """
    hashes = [row["key_hash"] for row in rows if row["key_hash"] is not None]
    there = select(RejectedRecord.key_hash).where(RejectedRecord.key_hash.in_(hashes))
    known = set(db.session.scalars(there))
    room: dict[tuple[int, datetime], int] = {}
    for row in rows:
        hour = (row["account_id"], hour_of(row["last_received_at"]))
        if hour not in room:
            room[hour] = MOST_KEPT - _count_kept(*hour)
        room[hour] -= row["key_hash"] not in known
        if row["key_hash"] in known or room[hour] >= 0:
            yield dict(row)


def _count_kept(account_id: int, starts_at: datetime) -> int:
    query = select(func.count()).where(
        RejectedRecord.account_id == account_id, RejectedRecord.last_received_at >= starts_at
    )
    return db.session.scalar(query) or 0


def _upsert(model: type[Base], rows: Sequence[dict[str, Any]], **how: Any) -> None:
    there = find_activity([row["account_id"] for row in rows])
    rows = [row for row in rows if row["account_id"] in there]
    if rows:
        upsert(model, rows, **how)
