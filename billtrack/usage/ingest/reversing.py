"""Take a record back: its negation is stored at the same instant, once."""

from __future__ import annotations

from billtrack.accounts.users.permissions import Reach
from billtrack.core.errors import ConflictError
from billtrack.platform import audit
from billtrack.platform.db import transaction
from billtrack.usage.ingest import store
from billtrack.usage.records.keys import reversal_hash
from billtrack.usage.records.lookup import get_record
from billtrack.usage.records.queries import RecordView, records_by_id
from billtrack.usage.records.rows import KeyTaken, NewRecord
from billtrack.usage.records.submissions import Terms
from billtrack.usage.sources.counting import count_reversal


class ReversalOfReversal(ConflictError):
    """A reversal cannot be reversed; record the usage again under a new key."""

    code = "reversal_of_reversal"


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
        reversal_id = _store(original, reason, actor, terms)
    except KeyTaken:
        # Another writer was faster: its reversal is committed, as the key waits for that.
        found = get_record(record_id, reach=reach).reversed_by_id
        if found is None:
            raise
        return records_by_id([found])[found], False
    count_reversal(original.recorded_by_id, terms)
    return records_by_id([reversal_id])[reversal_id], True


def _store(original: RecordView, reason: str, actor: audit.Actor, terms: Terms) -> int:
    with transaction():
        reversal_id = store.append_reversal(_reversal(original, reason, terms))
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


def _reversal(original: RecordView, reason: str, terms: Terms) -> NewRecord:
    digest = reversal_hash(original.id)
    return NewRecord(
        user_id=original.user_id,
        meter_id=original.meter_id,
        quantity=-original.quantity,
        occurred_at=original.occurred_at,
        day=terms.calendar.day_of(original.occurred_at),
        created_at=terms.now,
        recorded_by_id=terms.recorded_by_id,
        idempotency_key=None,
        key_hash=digest,
        fingerprint=digest,
        metadata=None,
        reverses_id=original.id,
        reason=reason,
        variant=original.variant,
    )
