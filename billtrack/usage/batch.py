"""Records that are stored together: known keys, rules, one transaction, an answer for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import psycopg

from billtrack.core.errors import BilltrackError, ConflictError, InvalidError
from billtrack.db import end_read, transaction
from billtrack.direct import is_postgresql, session_driver, single_statements
from billtrack.usage import one_statement, postgresql_facts, sqlite_facts, sqlite_rows
from billtrack.usage.facts import Facts
from billtrack.usage.journal.counting import count_outcomes
from billtrack.usage.keys import fingerprint, key_hash
from billtrack.usage.queries import RecordView
from billtrack.usage.rows import KeyTaken, NewRecord
from billtrack.usage.rules import Rulebook
from billtrack.usage.submissions import Submission

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
class _Answer:
    """An outcome that is not stored yet: the id of a known record, or a place among the new."""

    status: Status
    record_id: int | None = None
    position: int | None = None
    error: BilltrackError | None = None


_Result = tuple[list[_Answer], list[NewRecord], Sequence[int]]
"""An answer for each, what is new among it, and the ids of that: none when nothing was stored."""


class Batch:
    """Records on their way into the store; may be tried more than once.

    `may_be_stored` tells, after a failure, that it is not known whether anything is stored.
    """

    def __init__(self, submissions: Sequence[Submission], *, is_whole: bool = False) -> None:
        self._submissions = submissions
        self._is_whole = is_whole
        self._hashes = [key_hash(sent) for sent in submissions]
        self._prints = [fingerprint(sent.item) for sent in submissions]
        self.may_be_stored = False

    def take_in(self) -> list[Outcome]:
        """Store what is new and acceptable in one transaction, and answer for each."""
        for _ in range(MAX_ATTEMPTS):
            try:
                outcomes = self._run()
            except KeyTaken:
                continue
            count_outcomes(self._submissions, outcomes)
            return outcomes
        raise RuntimeError("keys were taken by other writers again and again")

    def preview(self) -> list[Outcome]:
        """Answer for each as `take_in` would now, and store nothing."""
        answers, _ = self._sort_out(self._find_facts())
        return [_outcome(answer, (), ()) for answer in answers]

    def admit_all(self, facts: Facts) -> list[NewRecord] | None:
        """Return the records as they are to be stored; None if by these facts not all are."""
        answers, fresh = self._sort_out(facts)
        return fresh if len(fresh) == len(answers) else None

    def _run(self) -> list[Outcome]:
        run = self._run_statements if is_postgresql() else self._run_transaction
        answers, fresh, ids = run()
        return [_outcome(answer, fresh, ids) for answer in answers]

    def _find_facts(self) -> Facts:
        if is_postgresql():
            with single_statements() as driver:
                return postgresql_facts.find_facts(driver, self._submissions, self._hashes)
        with session_driver() as connection:
            return sqlite_facts.find_facts(connection, self._submissions, self._hashes)

    def _run_statements(self) -> _Result:
        """Look up, then store, each in a statement of its own: the second is the transaction."""
        end_read()  # what the session has read is not what stands after this
        with single_statements() as driver:
            facts = postgresql_facts.find_facts(driver, self._submissions, self._hashes)
            answers, fresh = self._sort_out(facts)
            if not fresh or self._is_stopped_by(answers):
                return answers, fresh, ()
            self.may_be_stored = True
            try:
                return answers, fresh, one_statement.append(driver, fresh)
            except (KeyTaken, psycopg.Error):
                # What the server refuses it has not stored. Only a lost answer says nothing.
                self.may_be_stored = driver.closed
                raise

    def _run_transaction(self) -> _Result:
        with transaction(), session_driver() as driver:
            facts = sqlite_facts.find_facts(driver, self._submissions, self._hashes)
            answers, fresh = self._sort_out(facts)
            if not fresh or self._is_stopped_by(answers):
                return answers, fresh, ()
            ids = sqlite_rows.append(driver, fresh)
            self.may_be_stored = True
        return answers, fresh, ids

    def _is_stopped_by(self, answers: Sequence[_Answer]) -> bool:
        return self._is_whole and any(answer.error for answer in answers)

    def _sort_out(self, facts: Facts) -> tuple[list[_Answer], list[NewRecord]]:
        """Answer what was sent before; admit or refuse the rest, in order."""
        rulebook = Rulebook(facts)
        answers: list[_Answer] = []
        fresh: list[NewRecord] = []
        claimed: dict[bytes, int] = {}
        for sent, key, content in zip(self._submissions, self._hashes, self._prints, strict=True):
            if key is not None and (used := facts.keys.get(key)) is not None:
                repeat = _Answer(Status.DUPLICATE, record_id=used.record_id)
                answers.append(_repeat(repeat, same=used.fingerprint == content))
                continue
            if key is not None and (first := claimed.get(key)) is not None:
                repeat = _Answer(Status.DUPLICATE, position=first)
                answers.append(_repeat(repeat, same=fresh[first].fingerprint == content))
                continue
            answer = _admit(rulebook, sent, key, content, into=fresh)
            if answer.position is not None and key is not None:
                claimed[key] = answer.position
            answers.append(answer)
        return answers, fresh


def _outcome(answer: _Answer, fresh: Sequence[NewRecord], ids: Sequence[int]) -> Outcome:
    if answer.position is None or not ids:
        return Outcome(answer.status, answer.record_id, answer.error)
    stored = fresh[answer.position] if answer.status is Status.ACCEPTED else None
    return Outcome(answer.status, ids[answer.position], answer.error, stored)


def _admit(
    rulebook: Rulebook,
    sent: Submission,
    key: bytes | None,
    content: bytes,
    *,
    into: list[NewRecord],
) -> _Answer:
    try:
        record = rulebook.admit(sent, key_hash=key, fingerprint=content)
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
