"""One record by its id, looked up together with those that others ask for at the moment."""

from __future__ import annotations

from collections.abc import Sequence

from billtrack.accounts.permissions import Breadth, Reach
from billtrack.core.errors import NotFoundError
from billtrack.db import end_read
from billtrack.direct import read_now
from billtrack.extensions import app_combiner
from billtrack.usage.queries import RECORDS_BY_ID, RecordView

AT_ONCE = 200


class RecordNotFound(NotFoundError):
    """There is no such record, or it is not theirs."""

    code = "usage_record_not_found"

    def __init__(self, record_id: int) -> None:
        super().__init__(f"There is no usage record {record_id} that you can see.")


def get_record(record_id: int, *, reach: Reach) -> RecordView:
    """Return the record as it stands now; raises RecordNotFound when the reach does not cover it.

    Who sees what is decided for each who asks, never for those that are looked up together.
    """
    end_read()  # a connection that is held while waiting may be the one that is waited for
    record = app_combiner(find_together, at_most=AT_ONCE).ask(record_id)
    if record is None or not covers(reach, record):
        raise RecordNotFound(record_id)
    return record


def find_together(record_ids: Sequence[int]) -> list[RecordView | None]:
    """Return each of the records as it stands now, or None where there is none."""
    rows = read_now(RECORDS_BY_ID, {"ids": sorted(set(record_ids))})
    found = {record.id: record for record in (RecordView(*row) for row in rows)}
    return [found.get(record_id) for record_id in record_ids]


def covers(reach: Reach, record: RecordView) -> bool:
    """Tell whether who asks may see the record."""
    if reach.breadth is Breadth.ALL:
        return True
    if reach.breadth is Breadth.RECORDED:
        return record.recorded_by_id == reach.user_id
    return record.user_id == reach.user_id
