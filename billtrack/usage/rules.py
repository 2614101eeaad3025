"""What makes a record acceptable, besides its shape: user, event, time and totals."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from billtrack.core.errors import InvalidError
from billtrack.core.periods import Month
from billtrack.usage import store
from billtrack.usage.facts import Facts
from billtrack.usage.ingest.fields import MAX_QUANTITY
from billtrack.usage.meters import meter_ids
from billtrack.usage.rows import NewRecord
from billtrack.usage.submissions import Submission, Terms, UsageInput

__all__ = ["MAX_QUANTITY", "MAX_TOTAL", "Rulebook", "Submission", "Terms", "UsageInput"]

MAX_TOTAL = 10**18
FUTURE_TOLERANCE = timedelta(minutes=5)


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
    """The record would take a day or a month of a user and event beyond 10^18."""

    code = "quantity_overflow"


class Rulebook:
    """The rules for one group of submissions, by the facts that were looked up for it."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        self._totals = _Totals(facts.totals)
        self._terms: Terms | None = None
        self._latest = self._earliest = datetime.max.replace(tzinfo=UTC)

    def admit(self, sent: Submission, *, key_hash: bytes | None, fingerprint: bytes) -> NewRecord:
        """Return the record to store and count it; raises InvalidError naming the field."""
        item, terms = sent.item, sent.terms
        if not 1 <= item.quantity <= MAX_QUANTITY:
            raise InvalidQuantity.at("quantity", "Send an integer from 1 to 10^15.")
        is_active = self._facts.is_active.get(item.user_id)
        if is_active is None:
            raise UnknownUser.at("user_id", f"There is no user {item.user_id}.")
        if not is_active:
            raise InactiveUser.at("user_id", f"User {item.user_id} is deactivated.")
        meter_id = self._facts.meters.get(item.event)
        if meter_id is None:
            known = ", ".join(meter_ids())
            raise UnknownEvent.at("event", f"There is no event {item.event}. Known: {known}.")
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
    Two writers can each stay below the limit and pass it together only on different days
    of one month; the check on the rollup table holds the line for a single day.
    """

    def __init__(self, months: Mapping[store.MonthKey, int]) -> None:
        self._months = {key: [total] for key, total in months.items()}
        # By day, as a month takes ten times as long to find: the days of one share its total.
        self._days: dict[store.DayKey, list[int]] = {}

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
