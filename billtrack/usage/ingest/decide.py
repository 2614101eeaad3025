"""The rules for usage records, judged on facts: nothing here asks a database.

A record that is sent again under its idempotency key is answered with what is there, and no
other rule is asked. What is new has to pass all of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from billtrack.core.errors import ConflictError, InvalidError
from billtrack.core.periods import Month
from billtrack.usage.ingest.facts import Facts, MonthKey
from billtrack.usage.ingest.fields import MAX_QUANTITY
from billtrack.usage.records.keys import fingerprints, key_hash
from billtrack.usage.records.models import MAX_TOTAL
from billtrack.usage.records.outcomes import Outcome, Status
from billtrack.usage.records.rows import NewRecord
from billtrack.usage.records.submissions import Submission, Terms

FUTURE_TOLERANCE = timedelta(minutes=5)

DayKey = tuple[int, int, date]
"""User, meter, billing day."""


class IdempotencyConflict(ConflictError):
    """The key belongs to a record that says something else."""

    code = "idempotency_conflict"


class InvalidQuantity(InvalidError):
    """The quantity is not an integer from 1 to 10^15."""

    code = "invalid_quantity"


class UnknownUser(InvalidError):
    """The record names a user that does not exist."""

    code = "unknown_user"


class InactiveUser(InvalidError):
    """The record names a user that is deactivated."""

    code = "inactive_user"


class UnknownEvent(InvalidError):
    """The record names an event that no meter defines."""

    code = "unknown_event"


class OutsideWindow(InvalidError):
    """The record is of a time that is not accepted, or not any more."""

    code = "occurred_at_out_of_range"


class QuantityOverflow(InvalidError):
    """The record would take a month of a user and event beyond 10^18."""

    code = "quantity_overflow"


class Group:
    """Records that are decided on and stored together, with what stands for their keys."""

    def __init__(self, submissions: Sequence[Submission]) -> None:
        self.submissions = submissions
        self.hashes = [key_hash(sent) for sent in submissions]
        self.fingerprints = fingerprints([sent.item for sent in submissions])


@dataclass(slots=True)
class Repeat:
    """A record that repeats an earlier one of its group, which is at `position` among the new."""

    position: int


Answer = int | Repeat | Outcome
"""The position among the new records, a repeat of one of them, or an outcome that is known."""


@dataclass(slots=True)
class Decision:
    """An answer for each record of a group, and what is new among it."""

    answers: Sequence[Answer]
    fresh: Sequence[NewRecord]

    @property
    def is_all_new(self) -> bool:
        """Tell whether each record is to be stored."""
        return len(self.fresh) == len(self.answers)

    @property
    def has_refusals(self) -> bool:
        """Tell whether a record is refused, or conflicts with one that is there."""
        return any(isinstance(one, Outcome) and one.error for one in self.answers)

    def outcomes(self, ids: Sequence[int]) -> list[Outcome]:
        """Return what became of each record, by the ids of what is new; none if not stored."""
        accepted = (
            [
                Outcome(Status.ACCEPTED, record_id, None, record)
                for record_id, record in zip(ids, self.fresh, strict=True)
            ]
            if ids
            else [Outcome(Status.ACCEPTED)] * len(self.fresh)
        )
        return [_outcome(answer, accepted) for answer in self.answers]


def decide(group: Group, facts: Facts) -> Decision:
    """Answer what was sent before; admit or refuse the rest, in order."""
    admit, used_keys = Rulebook(facts).admit, facts.keys
    answers: list[Answer] = []
    fresh: list[NewRecord] = []
    claimed: dict[bytes, int] = {}
    for sent, key, content in zip(group.submissions, group.hashes, group.fingerprints, strict=True):
        if key is not None:
            if (used := used_keys.get(key)) is not None:
                known = Outcome(Status.DUPLICATE, used.record_id)
                answers.append(known if used.fingerprint == content else _conflict())
                continue
            if (first := claimed.get(key)) is not None:
                is_same = fresh[first].fingerprint == content
                answers.append(Repeat(first) if is_same else _conflict())
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
    return Decision(answers, fresh)


class Rulebook:
    """The rules for what is new, by the facts that were looked up for a group."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._totals = _Totals(facts.totals)
        self._terms: Terms | None = None
        self._latest = self._earliest = datetime.max.replace(tzinfo=UTC)

    def admit(self, sent: Submission, *, key_hash: bytes | None, fingerprint: bytes) -> NewRecord:
        """Return the record to store and count it; raises InvalidError naming the field."""
        item, terms = sent.item, sent.terms
        _require_quantity(item.quantity)
        self._require_user(item.user_id)
        meter_id = self._meter_of(item.event)
        self._require_window(sent.occurred_at, terms)
        self._totals.add(item.user_id, meter_id, sent.day, item.quantity)
        return NewRecord(
            user_id=item.user_id,
            meter_id=meter_id,
            quantity=item.quantity,
            occurred_at=sent.occurred_at,
            day=sent.day,
            created_at=terms.now,
            recorded_by_id=terms.recorded_by_id,
            idempotency_key=item.idempotency_key,
            key_hash=key_hash,
            fingerprint=fingerprint,
            metadata=dict(item.metadata) if item.metadata else None,
            origin=item.origin,
        )

    def _require_user(self, user_id: int) -> None:
        is_active = self._facts.is_active.get(user_id)
        if is_active is None:
            raise UnknownUser.at("user_id", f"There is no user {user_id}.")
        if not is_active:
            raise InactiveUser.at("user_id", f"User {user_id} is deactivated.")

    def _meter_of(self, event: str) -> int:
        meter_id = self._facts.meters.get(event)
        if meter_id is None:
            known = ", ".join(self._facts.events)
            raise UnknownEvent.at("event", f"There is no event {event}. Known: {known}.")
        return meter_id

    def _require_window(self, at: datetime, terms: Terms) -> None:
        if terms is not self._terms:  # those of a batch are the same for all of it
            self._terms = terms
            self._latest = terms.now + FUTURE_TOLERANCE
            self._earliest = terms.now - timedelta(days=terms.backfill_days)
        if at > self._latest:
            raise OutsideWindow.at("occurred_at", "This is more than 5 minutes in the future.")
        if at < self._earliest:
            days = terms.backfill_days
            raise OutsideWindow.at("occurred_at", f"This is more than {days} days ago.")


class _Totals:
    """The totals of the months that a group touches, as it grows.

    No day can exceed what its month does not, for no day is below zero: months are enough.
    Two writers can each stay below the limit and pass it together: the constraint of
    usage_monthly stops the second, which looks up and decides again.
    """

    def __init__(self, months: Mapping[MonthKey, int]) -> None:
        self._months = {key: [total] for key, total in months.items()}
        # By day, as a month takes ten times as long to find: the days of one share its total.
        self._days: dict[DayKey, list[int]] = {}

    def add(self, user_id: int, meter_id: int, day: date, quantity: int) -> None:
        """Count the quantity; raises QuantityOverflow, counting nothing, beyond 10^18."""
        total = self._days.get((user_id, meter_id, day)) or self._total_of(user_id, meter_id, day)
        if total[0] + quantity > MAX_TOTAL:
            raise QuantityOverflow.at(
                "quantity", f"The month {Month.of(day)} of this user and event would exceed 10^18."
            )
        total[0] += quantity

    def _total_of(self, user_id: int, meter_id: int, day: date) -> list[int]:
        total = self._months.setdefault((user_id, meter_id, Month.of(day)), [0])
        return self._days.setdefault((user_id, meter_id, day), total)


def _require_quantity(quantity: int) -> None:
    if not 1 <= quantity <= MAX_QUANTITY:
        raise InvalidQuantity.at("quantity", "Send an integer from 1 to 10^15.")


def _outcome(answer: Answer, accepted: Sequence[Outcome]) -> Outcome:
    if isinstance(answer, int):
        return accepted[answer]
    if isinstance(answer, Repeat):
        return Outcome(Status.DUPLICATE, accepted[answer.position].record_id)
    return answer


def _conflict() -> Outcome:
    error = IdempotencyConflict(
        "This idempotency key belongs to a record with other content. "
        "To correct it, reverse that record and send the new one under a new key."
    )
    return Outcome(Status.CONFLICT, error=error)
