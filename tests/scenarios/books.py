"""What must be so after every fault: the books agree with what clients were told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select

from billtrack.platform.extensions import current_calendar, db
from billtrack.usage.records.models import Meter, UsageKey, UsageRecord
from billtrack.usage.records.verification import verify
from tests.scenarios.harness import Installation
from tests.scenarios.jobs import assert_files_are_whole, statuses


@dataclass(frozen=True)
class Usage:
    """What a client sent under a key."""

    user_id: int
    event: str
    quantity: int


def assert_books_agree(
    installation: Installation, sent: Mapping[str, Usage], *, recorded_by_id: int
) -> None:
    """Check that each key of the recording account is one record as it was sent, and no other is.

    Also that every rollup is the sum of its records, that every job is completed, and that
    every file is whole.
    """
    with installation.inside():
        records = db.session.execute(
            select(UsageRecord.id, UsageRecord.idempotency_key, UsageRecord.user_id)
            .add_columns(Meter.code, UsageRecord.quantity)
            .join(Meter, Meter.id == UsageRecord.meter_id)
            .where(UsageRecord.recorded_by_id == recorded_by_id)
        ).all()
        keys = db.session.scalar(
            select(func.count())
            .select_from(UsageKey)
            .join(UsageRecord, UsageRecord.id == UsageKey.record_id)
            .where(UsageRecord.recorded_by_id == recorded_by_id)
        )
        checked = list(verify(calendar=current_calendar()))
    stored = {key: Usage(user, event, quantity) for _, key, user, event, quantity in records}
    assert stored == dict(sent)
    assert len(records) == keys == len(sent)
    assert sum(user.rollups for user in checked) > 0
    assert [one for user in checked for one in user.differences] == []
    assert set(statuses(installation)) <= {"completed"}
    assert_files_are_whole(installation)
