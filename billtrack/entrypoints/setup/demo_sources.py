"""What the journal knows of the demo's collector: ten days of hours, and a few refused records."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import insert, select

from billtrack.core.errors import BilltrackError, InvalidError
from billtrack.platform.extensions import db
from billtrack.usage.ingest.decide import UnknownEvent, UnknownUser
from billtrack.usage.records.meters import meter_ids
from billtrack.usage.records.models import UsageRecord
from billtrack.usage.sources.models import RejectedRecord, UsageSource, UsageSourceHour
from billtrack.usage.sources.refusing import row_of
from billtrack.usage.sources.tally import hour_of

DAYS = 10
"""Not long enough for habits: nobody would be glad of a demo that is called silent at lunch."""

UNKNOWN_USER = 4711
NO_NUMBER = "quantity: Input should be a valid integer"
RETRIED_EVERY = 7
"""Hours between those in which the collector has sent something again."""


def load_demo_journal(source: int, *, now: datetime) -> None:
    """Write the journal of the source as if its usage had come as it happened."""
    first = now - timedelta(days=DAYS)
    sent = select(UsageRecord.occurred_at).where(
        UsageRecord.recorded_by_id == source, UsageRecord.occurred_at >= first
    )
    accepted = Counter(hour_of(at) for at in db.session.scalars(sent))
    if not accepted:
        return
    db.session.execute(
        insert(UsageSource), {"account_id": source, "first_seen_at": first, "last_seen_at": now}
    )
    refused = _refused(source, now)
    rejected = Counter(hour_of(row["last_received_at"]) for row in refused)
    hours = [
        {
            "account_id": source,
            "starts_at": hour,
            "accepted": accepted[hour],
            "late": 0,
            "duplicate": accepted[hour] // 4 if number % RETRIED_EVERY == 0 else 0,
            "conflict": 0,
            "rejected": rejected[hour],
            "reversed": 0,
        }
        for number, hour in enumerate(sorted(accepted.keys() | rejected.keys()))
    ]
    db.session.execute(insert(UsageSourceHour), hours)
    db.session.execute(insert(RejectedRecord), refused)


def _refused(source: int, now: datetime) -> list[dict[str, Any]]:
    missing = f"There is no user {UNKNOWN_USER}."
    record = {"user_id": UNKNOWN_USER, "event": "api_calls", "occurred_at": _written(now)}
    found: list[tuple[int, dict[str, Any], BilltrackError]] = [
        (
            hours,
            {**record, "quantity": 1200 + 35 * hours, "idempotency_key": f"demo/late-{hours}"},
            UnknownUser.at("user_id", missing),
        )
        for hours in (31, 29, 28, 26)
    ]
    typed = {**record, "event": "cpu_tme", "quantity": 5400, "idempotency_key": "demo/typed"}
    known = ", ".join(meter_ids())
    found += [
        (9, typed, UnknownEvent.at("event", f"There is no event cpu_tme. Known: {known}.")),
        (3, {**record, "quantity": "12.5"}, InvalidError.at("quantity", NO_NUMBER)),
    ]
    return [
        dict(row_of(item, None, error, source, now - timedelta(hours=hours)))
        for hours, item, error in found
    ]


def _written(now: datetime) -> str:
    at = (now - timedelta(hours=32)).replace(minute=0, second=0, microsecond=0)
    return at.isoformat().replace("+00:00", "Z")
