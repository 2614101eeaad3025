"""The one door for usage: refuse what cannot be, store the rest, answer for each.

A single record is a batch of one. `intake` owns its transaction; of a record either its key,
its row and its share of the rollup are stored, or nothing is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC
from itertools import repeat
from typing import Any

import structlog
from sqlalchemy.exc import IntegrityError

from billtrack import audit
from billtrack.accounts.permissions import Reach
from billtrack.core.errors import ConflictError, UnavailableError
from billtrack.db import end_read, transaction
from billtrack.usage import store
from billtrack.usage.batch import Batch, IdempotencyConflict, Outcome, Status
from billtrack.usage.journal.counting import count_reversal
from billtrack.usage.journal.refusing import note_misshapen
from billtrack.usage.lookup import get_record
from billtrack.usage.queries import RecordView, records_by_id
from billtrack.usage.rows import NewRecord
from billtrack.usage.submissions import Misshapen, Sent, Submission, Terms, UsageInput

__all__ = [
    "IdempotencyConflict",
    "Outcome",
    "Status",
    "get_answer",
    "preview",
    "reverse",
    "submit",
    "submit_one",
    "submit_together",
]

log = structlog.get_logger(__name__)

AT_ONCE = 200
"""How many single records are stored in one transaction at most."""

_ASK_AGAIN = (
    "The database went away while storing. Send the record again under the same idempotency "
    "key: it is stored once. Without a key, look first whether it is there."
)


class ReversalOfReversal(ConflictError):
    """What was reversed stays reversed; record the usage again under a new key."""

    code = "reversal_of_reversal"


class CommitUncertain(UnavailableError):
    """The database went away while storing: whether the records are stored is not known."""

    code = "unavailable"


def submit(sent: Sequence[Sent], *, terms: Terms, is_whole: bool = False) -> list[Outcome]:
    """Take in the records; return one answer for each, in order.

    A key that the account used before answers with the original record, or with a conflict
    when the content differs; then nothing else is checked. One refused record never blocks
    the others, and uses up no key; with `is_whole` it stops all of them, and those that
    would have been accepted come back without an id.
    """
    shaped = [Submission(one, terms) for one in sent if isinstance(one, UsageInput)]
    is_all = len(shaped) == len(sent)
    is_stopped = is_whole and not is_all
    outcomes = [] if is_stopped else Batch(shaped, is_whole=is_whole).take_in()
    if is_all:
        return outcomes
    decided = repeat(Outcome(Status.ACCEPTED)) if is_stopped else iter(outcomes)
    return [
        _refuse(one, terms, is_whole=is_whole) if isinstance(one, Misshapen) else next(decided)
        for one in sent
    ]


def preview(inputs: Sequence[UsageInput], *, terms: Terms) -> list[Outcome]:
    """Return what `submit` would answer now, storing nothing; nothing new has an id."""
    return Batch([Submission(item, terms) for item in inputs]).preview()


def submit_one(item: UsageInput, *, terms: Terms) -> tuple[RecordView, bool]:
    """Take in one record; return it and whether it is new. Raises what refused it."""
    end_read()  # what is read back may have been stored since the session began to read
    (outcome,) = submit_together([Submission(item, terms)])
    return get_answer(item, outcome)


def _refuse(sent: Misshapen, terms: Terms, *, is_whole: bool) -> Outcome:
    if terms.keeps_refused and not is_whole:
        note_misshapen(sent, terms=terms)
    return Outcome(Status.REJECTED, error=sent.error)


def submit_together(submissions: Sequence[Submission]) -> list[Outcome]:
    """Store what arrived at the same moment; raises only when nothing of it is stored."""
    batch = Batch(submissions)
    try:
        return batch.take_in()
    except Exception as error:
        if not batch.may_be_stored:
            raise
        return not_known(submissions, error)


def not_known(submissions: Sequence[Submission], error: Exception) -> list[Outcome]:
    """Answer for records of which it is not known whether they are stored.

    Whatever the error was: trying each anew could store a record twice that has no key. The
    client decides.
    """
    log.warning("commit_uncertain", error=str(error), records=len(submissions))
    return [Outcome(Status.REJECTED, error=CommitUncertain(_ASK_AGAIN)) for _ in submissions]


def get_answer(item: UsageInput, outcome: Outcome) -> tuple[RecordView, bool]:
    """Return the record that an input led to and whether it is new; raises what refused it."""
    if outcome.error is not None:
        raise outcome.error
    if outcome.view is not None:
        return outcome.view, True
    if outcome.record_id is None:
        raise RuntimeError("an accepted or known record comes with its id")
    if outcome.stored is not None and outcome.stored.metadata is None:
        return view_of(outcome.record_id, outcome.stored, item.event), True
    # Metadata are read back: the database may write a number in another way than the client.
    record = records_by_id([outcome.record_id])[outcome.record_id]
    return record, outcome.status is Status.ACCEPTED


def reverse(
    record_id: int, *, reason: str, reach: Reach, actor: audit.Actor, terms: Terms
) -> tuple[RecordView, bool]:
    """Store the negated record at the same instant; return it and whether it is new.

    Reversing again returns the same reversal. Raises RecordNotFound outside the reach and
    ReversalOfReversal.
    """
    original = get_record(record_id, reach=reach)
    if original.reverses_id is not None:
        raise ReversalOfReversal(f"Record {record_id} is itself a reversal.")
    if original.reversed_by_id is not None:
        return records_by_id([original.reversed_by_id])[original.reversed_by_id], False
    try:
        reversal_id = _store_reversal(original, reason, actor, terms)
    except IntegrityError:
        # Only one reversal can name a record: another writer may have been faster.
        found = get_record(record_id, reach=reach).reversed_by_id
        if found is None:
            raise
        return records_by_id([found])[found], False
    count_reversal(original.recorded_by_id, terms)
    return records_by_id([reversal_id])[reversal_id], True


def _store_reversal(original: RecordView, reason: str, actor: audit.Actor, terms: Terms) -> int:
    with transaction():
        (reversal_id,) = store.append([_reversal(original, reason, terms)])
        audit.record(
            "usage.reversed",
            actor=actor,
            now=terms.now,
            object_type="usage_record",
            object_id=original.id,
            changes={"user_id": original.user_id, "reversal_id": reversal_id},
            personal={"reason": reason},  # whoever writes one may name people
            subject_id=original.user_id,
        )
    return reversal_id


def view_of(
    record_id: int, stored: NewRecord, event: str, metadata: dict[str, Any] | None = None
) -> RecordView:
    """Return the record as it reads back."""
    return RecordView(
        id=record_id,
        user_id=stored.user_id,
        meter_id=stored.meter_id,
        event=event,
        quantity=stored.quantity,
        occurred_at=stored.occurred_at.astimezone(UTC),
        created_at=stored.created_at,
        recorded_by_id=stored.recorded_by_id,
        idempotency_key=stored.idempotency_key,
        metadata=metadata,
        reverses_id=None,
        reason=None,
        reversed_by_id=None,
        origin=stored.origin,
    )


def _reversal(original: RecordView, reason: str, terms: Terms) -> NewRecord:
    return NewRecord(
        user_id=original.user_id,
        meter_id=original.meter_id,
        quantity=-original.quantity,
        occurred_at=original.occurred_at,
        day=terms.calendar.day_of(original.occurred_at),
        created_at=terms.now,
        recorded_by_id=terms.recorded_by_id,
        idempotency_key=None,
        key_hash=None,
        fingerprint=b"",
        metadata=None,
        reverses_id=original.id,
        reason=reason,
    )
