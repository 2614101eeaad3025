"""Records that are stored together: known keys, rules, one transaction, an answer for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

import psycopg

from billtrack.core.errors import BilltrackError, ConflictError, InvalidError
from billtrack.db import driver_transaction, end_read
from billtrack.direct import is_postgresql, session_driver, single_statements
from billtrack.usage import (
    one_statement,
    postgresql_batch,
    postgresql_facts,
    sqlite_facts,
    sqlite_rows,
)
from billtrack.usage.facts import Facts
from billtrack.usage.ingest.settling import settle
from billtrack.usage.keys import fingerprints, key_hash
from billtrack.usage.queries import RecordView
from billtrack.usage.rows import KeyTaken, NewRecord
from billtrack.usage.rules import Rulebook
from billtrack.usage.submissions import Submission

MAX_ATTEMPTS = 5
LARGE = 500
"""So many records are worth a guess whether they were sent before."""


class Status(StrEnum):
    """What became of a record that was sent."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CONFLICT = "conflict"
    REJECTED = "rejected"


class IdempotencyConflict(ConflictError):
    """The key belongs to a record that says something else."""

    code = "idempotency_conflict"


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


@dataclass(slots=True)
class _Repeat:
    """What is the same as a record before it: the place of that among the new."""

    position: int


_Answer = int | _Repeat | Outcome
"""What a record is answered with: where it stands among the new, if it is; an outcome, if known."""

_Decided = tuple[list[_Answer], list[NewRecord]]
"""An answer for each, and what is new among it."""

_Result = tuple[Sequence[_Answer], Sequence[NewRecord], Sequence[int]]
"""An answer for each, what is new among it, and the ids of that: none when nothing was stored."""


class Batch:
    """Records on their way into the store; may be tried more than once.

    `may_be_stored` tells, after a failure, that it is not known whether anything is stored.
    """

    def __init__(self, submissions: Sequence[Submission], *, is_whole: bool = False) -> None:
        self._submissions = submissions
        self._is_whole = is_whole
        self._hashes = [key_hash(sent) for sent in submissions]
        self._prints = fingerprints([sent.item for sent in submissions])
        self._looks_new = len(submissions) >= LARGE
        self.may_be_stored = False

    def take_in(self) -> list[Outcome]:
        """Store what is new and acceptable in one transaction, and answer for each."""
        for _ in range(MAX_ATTEMPTS):
            try:
                outcomes = self._run()
            except KeyTaken:
                self._looks_new = False
                continue
            settle(self._submissions, outcomes, is_whole=self._is_whole)
            return outcomes
        raise RuntimeError("keys were taken by other writers again and again")

    def preview(self) -> list[Outcome]:
        """Answer for each as `take_in` would now, and store nothing."""
        return _outcomes(*self._sort_out(self._find_facts()), ())

    def admit_all(self, facts: Facts) -> list[NewRecord] | None:
        """Return the records as they are to be stored; None if by these facts not all are."""
        answers, fresh = self._sort_out(facts)
        return fresh if len(fresh) == len(answers) else None

    def _run(self) -> list[Outcome]:
        run = self._run_statements if is_postgresql() else self._run_transaction
        return _outcomes(*run())

    def _find_facts(self) -> Facts:
        if is_postgresql():
            with single_statements() as driver:
                return postgresql_facts.find_facts(driver, self._submissions, self._hashes)
        with session_driver() as connection:
            return sqlite_facts.find_facts(connection, self._submissions, self._hashes)

    def _decide(self, find: Callable[[Sequence[bytes | None]], Facts]) -> _Decided:
        """Sort out by the facts that `find` returns for keys.

        Whether a few keys of a large batch are used tells whether it was sent before. If not, and
        by the rules all of it is to be stored, to store it tells whether any other key is used.
        """
        if self._looks_new:
            sample: list[bytes | None] = [None] * len(self._hashes)
            for place in (0, len(sample) // 2, -1):
                sample[place] = self._hashes[place]
            facts = find(sample)
            answers, fresh = self._sort_out(facts)
            if len(fresh) == len(answers):
                return answers, fresh
        return self._sort_out(find(self._hashes))

    def _run_statements(self) -> _Result:
        """Look up, then store, each in a statement of its own: the second is the transaction."""
        end_read()  # what the session has read is not what stands after this
        with single_statements() as driver:
            find = partial(postgresql_facts.find_facts, driver, self._submissions)
            answers, fresh = self._decide(find)
            if not fresh or self._is_stopped_by(answers):
                return answers, fresh, ()
            is_large = len(fresh) >= postgresql_batch.MANY
            append = postgresql_batch.append if is_large else one_statement.append
            self.may_be_stored = True
            try:
                return answers, fresh, append(driver, fresh)
            except (KeyTaken, psycopg.Error):
                # What the server refuses it has not stored. Only a lost answer says nothing.
                self.may_be_stored = driver.closed
                raise

    def _run_transaction(self) -> _Result:
        with driver_transaction() as driver:
            answers, fresh = self._decide(
                partial(sqlite_facts.find_facts, driver, self._submissions)
            )
            if not fresh or self._is_stopped_by(answers):
                return answers, fresh, ()
            ids = sqlite_rows.append(driver, fresh)
            self.may_be_stored = True
        return answers, fresh, ids

    def _is_stopped_by(self, answers: Sequence[_Answer]) -> bool:
        return self._is_whole and any(isinstance(one, Outcome) and one.error for one in answers)

    def _sort_out(self, facts: Facts) -> _Decided:
        """Answer what was sent before; admit or refuse the rest, in order."""
        admit, used_keys = Rulebook(facts).admit, facts.keys
        answers: list[_Answer] = []
        fresh: list[NewRecord] = []
        claimed: dict[bytes, int] = {}
        for sent, key, content in zip(self._submissions, self._hashes, self._prints, strict=True):
            if key is not None:
                if (used := used_keys.get(key)) is not None:
                    known = Outcome(Status.DUPLICATE, used.record_id)
                    answers.append(known if used.fingerprint == content else _conflict())
                    continue
                if (first := claimed.get(key)) is not None:
                    is_same = fresh[first].fingerprint == content
                    answers.append(_Repeat(first) if is_same else _conflict())
                    continue
            try:
                record = admit(sent, key_hash=key, fingerprint=content)
            except InvalidError as error:
                answers.append(Outcome(Status.REJECTED, error=error))
                continue
            if key is not None:
                claimed[key] = len(fresh)
            answers.append(len(fresh))
            fresh.append(record)
        return answers, fresh


def _outcomes(
    answers: Sequence[_Answer], fresh: Sequence[NewRecord], ids: Sequence[int]
) -> list[Outcome]:
    accepted = (
        [
            Outcome(Status.ACCEPTED, record_id, None, record)
            for record_id, record in zip(ids, fresh, strict=True)
        ]
        if ids
        else [Outcome(Status.ACCEPTED)] * len(fresh)
    )
    return [_outcome(answer, accepted) for answer in answers]


def _outcome(answer: _Answer, accepted: Sequence[Outcome]) -> Outcome:
    if isinstance(answer, int):
        return accepted[answer]
    if isinstance(answer, _Repeat):
        return Outcome(Status.DUPLICATE, accepted[answer.position].record_id)
    return answer


def _conflict() -> Outcome:
    error = IdempotencyConflict(
        "This idempotency key belongs to a record with other content. "
        "To correct it, reverse that record and send the new one under a new key."
    )
    return Outcome(Status.CONFLICT, error=error)
