"""The one door for usage: refuse what cannot be, store the rest, answer for each.

A single record is a batch of one. `intake` owns its transaction; of a record either its key,
its row and its share of the rollup are stored, or nothing is.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from enum import StrEnum

from sqlalchemy.exc import IntegrityError

from billtrack import audit
from billtrack.accounts.permissions import Reach
from billtrack.core.errors import BilltrackError, ConflictError, InvalidError
from billtrack.db import transaction
from billtrack.metrics.counting import count_records
from billtrack.usage import store
from billtrack.usage.queries import RecordView, get_record, records_by_id
from billtrack.usage.rules import Rulebook, Terms, UsageInput

MAX_ATTEMPTS = 5


class Status(StrEnum):
    """What became of a record that was sent."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"


class IdempotencyConflict(ConflictError):
    """The key belongs to a record that says something else."""

    code = "idempotency_conflict"


class ReversalOfReversal(ConflictError):
    """What was reversed stays reversed; record the usage again under a new key."""

    code = "reversal_of_reversal"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one input: its status with the id of the record, or what refused it."""

    status: Status
    record_id: int | None = None
    error: BilltrackError | None = None


def submit(inputs: Sequence[UsageInput], *, terms: Terms, is_whole: bool = False) -> list[Outcome]:
    """Take in the records; return one answer for each, in order.

    A key that the account used before answers with the original record, or with a conflict
    when the content differs; then nothing else is checked. One refused record never blocks
    the others, and uses up no key; with `is_whole` it stops all of them, and those that
    would have been accepted come back without an id.
    """
    batch = _Batch(inputs, terms, is_whole=is_whole)
    for _ in range(MAX_ATTEMPTS):
        try:
            outcomes = batch.run()
        except store.KeyTaken:
            continue
        count_records(_decided(outcomes))
        return outcomes
    raise RuntimeError("keys were taken by other writers again and again")


def submit_one(item: UsageInput, *, terms: Terms) -> tuple[RecordView, bool]:
    """Take in one record; return it and whether it is new. Raises what refused it."""
    (outcome,) = submit([item], terms=terms)
    if outcome.error is not None:
        raise outcome.error
    if outcome.record_id is None:
        raise RuntimeError("an accepted or known record comes with its id")
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
    count_records({"reversed": 1})
    return records_by_id([reversal_id])[reversal_id], True


def _decided(outcomes: Sequence[Outcome]) -> Counter[str]:
    """Count the outcomes; what was only held back by others was not decided on."""
    return Counter(
        outcome.status.value for outcome in outcomes if outcome.record_id or outcome.error
    )


def _store_reversal(original: RecordView, reason: str, actor: audit.Actor, terms: Terms) -> int:
    with transaction():
        (reversal_id,) = store.append([_reversal(original, reason, terms)])
        audit.record(
            "usage.reversed",
            actor=actor,
            now=terms.now,
            object_type="usage_record",
            object_id=original.id,
            changes={"reversal_id": reversal_id, "reason": reason},
        )
    return reversal_id


@dataclass(frozen=True, slots=True)
class _Answer:
    """An outcome that is not stored yet: the id of a known record, or a place among the new."""

    status: Status
    record_id: int | None = None
    position: int | None = None
    error: BilltrackError | None = None


class _Batch:
    """Inputs on their way into the store; may be tried more than once."""

    def __init__(
        self, inputs: Sequence[UsageInput], terms: Terms, *, is_whole: bool = False
    ) -> None:
        self._inputs = inputs
        self._terms = terms
        self._is_whole = is_whole
        self._hashes = [_key_hash(terms.recorded_by_id, item) for item in inputs]
        self._prints = [_fingerprint(item) for item in inputs]

    def run(self) -> list[Outcome]:
        """Store what is new and acceptable in one transaction; raises store.KeyTaken."""
        with transaction():
            known = store.used_keys([key for key in self._hashes if key is not None])
            answers, fresh = self._sort_out(known)
            if self._is_whole and any(answer.error for answer in answers):
                return [Outcome(a.status, a.record_id, a.error) for a in answers]
            ids = store.append(fresh) if fresh else []
        return [
            Outcome(a.status, a.record_id if a.position is None else ids[a.position], a.error)
            for a in answers
        ]

    def _sort_out(
        self, known: Mapping[bytes, store.UsedKey]
    ) -> tuple[list[_Answer], list[store.NewRecord]]:
        """Answer what was sent before; admit or refuse the rest, in order."""
        unknown = [
            item
            for item, key_hash in zip(self._inputs, self._hashes, strict=True)
            if key_hash not in known
        ]
        rulebook = Rulebook(unknown, self._terms) if unknown else None
        answers: list[_Answer] = []
        fresh: list[store.NewRecord] = []
        claimed: dict[bytes, int] = {}
        for item, key_hash, fingerprint in zip(
            self._inputs, self._hashes, self._prints, strict=True
        ):
            if key_hash is not None and (used := known.get(key_hash)) is not None:
                repeat = _Answer(Status.DUPLICATE, record_id=used.record_id)
                answers.append(_repeat(repeat, same=used.fingerprint == fingerprint))
                continue
            if key_hash is not None and (first := claimed.get(key_hash)) is not None:
                repeat = _Answer(Status.DUPLICATE, position=first)
                answers.append(_repeat(repeat, same=fresh[first].fingerprint == fingerprint))
                continue
            answer = _admit(rulebook, item, key_hash, fingerprint, into=fresh)
            if answer.position is not None and key_hash is not None:
                claimed[key_hash] = answer.position
            answers.append(answer)
        return answers, fresh


def _admit(
    rulebook: Rulebook | None,
    item: UsageInput,
    key_hash: bytes | None,
    fingerprint: bytes,
    *,
    into: list[store.NewRecord],
) -> _Answer:
    if rulebook is None:
        raise RuntimeError("an unknown record needs the rules")
    try:
        record = rulebook.admit(item, key_hash=key_hash, fingerprint=fingerprint)
    except InvalidError as error:
        return _Answer(Status.REJECTED, error=error)
    into.append(record)
    return _Answer(Status.ACCEPTED, position=len(into) - 1)


def _repeat(duplicate: _Answer, *, same: bool) -> _Answer:
    if same:
        return duplicate
    error = IdempotencyConflict(
        "This idempotency key belongs to a record with other content. "
        "To correct it, reverse that record and send the new one under a new key."
    )
    return _Answer(Status.CONFLICT, error=error)


def _reversal(original: RecordView, reason: str, terms: Terms) -> store.NewRecord:
    return store.NewRecord(
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


def _key_hash(recorded_by_id: int, item: UsageInput) -> bytes | None:
    if item.idempotency_key is None:
        return None
    # The source is a number, so the separator cannot stand in it: no two pairs look alike.
    text = f"{recorded_by_id}:{item.idempotency_key}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def _fingerprint(item: UsageInput) -> bytes:
    """Digest what the client sent: an omitted instant stays omitted, whatever the clock."""
    sent = [
        item.user_id,
        item.event,
        item.quantity,
        item.occurred_at.astimezone(UTC).isoformat() if item.occurred_at else None,
        dict(item.metadata) if item.metadata else None,
    ]
    text = json.dumps(sent, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
