"""The one way in for usage: refuse what cannot be, store the rest, answer for each.

A single record is a batch of one. Of a record either its key, its row and its share of the
rollups are stored, or nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC
from typing import Any

import structlog

from billtrack.core.errors import UnavailableError
from billtrack.platform.db import end_read
from billtrack.usage.ingest import store
from billtrack.usage.ingest.decide import Decision, Group, decide
from billtrack.usage.ingest.facts import Facts
from billtrack.usage.ingest.settling import settle, settle_misshapen
from billtrack.usage.records.outcomes import Outcome, Status
from billtrack.usage.records.queries import RecordView, records_by_id
from billtrack.usage.records.rows import KeyTaken, MonthFull, NewRecord
from billtrack.usage.records.submissions import Misshapen, Sent, Submission, Terms, UsageInput

log = structlog.get_logger(__name__)

AT_ONCE = 200
"""How many single records are stored in one transaction at most."""

MAX_ATTEMPTS = 20
"""Each failure means that another writer was faster: sixteen may be, at a month nearly full."""

LARGE = 500
"""From so many records on, a sample of their keys is looked up before all of them are."""

_ASK_AGAIN = (
    "The database went away while storing. Send the record again under the same idempotency "
    "key: it is stored once. Without a key, look first whether it is there."
)


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
    # Where there is nothing to store, no database is asked and no writer has to wait.
    is_stopped = not shaped or (is_whole and len(shaped) < len(sent))
    outcomes = (
        [Outcome(Status.ACCEPTED)] * len(shaped)
        if is_stopped
        else Batch(shaped, is_whole=is_whole).take_in()
    )
    for one in sent if len(shaped) < len(sent) else ():
        if isinstance(one, Misshapen):
            settle_misshapen(one, terms, is_whole=is_whole)
    return _in_order(sent, outcomes)


def preview(sent: Sequence[Sent], *, terms: Terms) -> list[Outcome]:
    """Return what `submit` would answer now, storing nothing; nothing new has an id."""
    group = Group([Submission(one, terms) for one in sent if isinstance(one, UsageInput)])
    with store.reading() as look_up:
        facts = look_up(group.submissions, group.hashes)
    return _in_order(sent, decide(group, facts).outcomes(()))


def submit_one(item: UsageInput, *, terms: Terms) -> tuple[RecordView, bool]:
    """Take in one record; return it and whether it is new. Raises what refused it."""
    end_read()  # what is read back may have been stored since the session began to read
    (outcome,) = submit_together([Submission(item, terms)])
    return get_answer(item, outcome)


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
        variant=stored.variant,
    )


def _in_order(sent: Sequence[Sent], outcomes: list[Outcome]) -> list[Outcome]:
    """Return an outcome for each, those of records among those of what is none."""
    if len(outcomes) == len(sent):
        return outcomes
    decided = iter(outcomes)
    return [
        Outcome(Status.REJECTED, error=one.error) if isinstance(one, Misshapen) else next(decided)
        for one in sent
    ]


class Batch:
    """Records on their way into the store; may be tried more than once."""

    def __init__(self, submissions: Sequence[Submission], *, is_whole: bool = False) -> None:
        self._group = Group(submissions)
        self._is_whole = is_whole
        self._looks_new = len(submissions) >= LARGE
        self._writer: store.Writer | None = None

    @property
    def may_be_stored(self) -> bool:
        """Tell, after a failure, that it is not known whether anything is stored."""
        return self._writer is not None and self._writer.may_be_stored

    def take_in(self) -> list[Outcome]:
        """Store what is new and acceptable in one transaction, and answer for each."""
        for _ in range(MAX_ATTEMPTS):
            try:
                outcomes = self._store()
            except KeyTaken:
                self._looks_new = False
                continue
            except MonthFull:
                continue
            settle(self._group.submissions, outcomes, is_whole=self._is_whole)
            return outcomes
        raise RuntimeError("other writers were faster again and again")

    def _store(self) -> list[Outcome]:
        with store.writing() as self._writer:
            decision = self._decide(self._writer.look_up)
            is_stopped = self._is_whole and decision.has_refusals
            ids = self._writer.append(decision.fresh) if decision.fresh and not is_stopped else ()
        return decision.outcomes(ids)

    def _decide(self, look_up: Callable[..., Facts]) -> Decision:
        """Decide by the facts that are looked up.

        Whether a few keys of a large batch are used tells whether it was sent before. If not, and
        by the rules all of it is to be stored, to store it tells whether any other key is used.
        """
        group = self._group
        if self._looks_new:
            sample: list[bytes | None] = [None] * len(group.hashes)
            for place in (0, len(sample) // 2, -1):
                sample[place] = group.hashes[place]
            decision = decide(group, look_up(group.submissions, sample))
            if decision.is_all_new:
                return decision
        return decide(group, look_up(group.submissions, group.hashes))
