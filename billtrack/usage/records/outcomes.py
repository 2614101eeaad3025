"""What becomes of a record that was sent."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from billtrack.core.errors import BilltrackError
from billtrack.usage.records.queries import RecordView
from billtrack.usage.records.rows import NewRecord


class Status(StrEnum):
    """What became of a record that was sent."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"


# Not frozen: of these ten thousand are made for a batch, and frozen ones take twice as long.
@dataclass(slots=True)
class Outcome:
    """What became of one input: its status with the id of the record, or what refused it.

    `stored` is the record as it was written, where it was accepted, and `view` as it reads back,
    where that is known.
    """

    status: Status
    record_id: int | None = None
    error: BilltrackError | None = None
    stored: NewRecord | None = None
    view: RecordView | None = None
