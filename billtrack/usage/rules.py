"""What makes a record acceptable, besides its shape: user, event, time and totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from billtrack.accounts.queries import find_activity
from billtrack.core.errors import InvalidError
from billtrack.core.periods import BillingCalendar, Month
from billtrack.usage import store
from billtrack.usage.meters import meter_ids
from billtrack.usage.rows import NewRecord

MAX_QUANTITY = 10**15
MAX_TOTAL = 10**18
FUTURE_TOLERANCE = timedelta(minutes=5)

MetadataValue = str | int | float | bool


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


@dataclass(frozen=True, slots=True)
class UsageInput:
    """A record as it was sent: base units, an aware instant or None for now."""

    user_id: int
    event: str
    quantity: int
    occurred_at: datetime | None = None
    idempotency_key: str | None = None
    metadata: Mapping[str, MetadataValue] | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """Who records, at which instant, under which rules."""

    recorded_by_id: int
    now: datetime
    calendar: BillingCalendar
    backfill_days: int


@dataclass(frozen=True, slots=True)
class Submission:
    """A record as it was sent, and the terms under which it was."""

    item: UsageInput
    terms: Terms

    @property
    def occurred_at(self) -> datetime:
        """When it was used: now, if nothing else was sent."""
        return self.item.occurred_at or self.terms.now

    @property
    def day(self) -> date:
        """The billing day it belongs to."""
        return self.terms.calendar.day_of(self.occurred_at)


class Rulebook:
    """The rules for one group of submissions, with all that they need looked up at once."""

    def __init__(self, submissions: Sequence[Submission]) -> None:
        self._is_active = find_activity([sent.item.user_id for sent in submissions])
        self._meters = meter_ids()
        self._totals = _Totals(
            [
                (sent.item.user_id, meter_id, Month.of(sent.day))
                for sent in submissions
                if (meter_id := self._meters.get(sent.item.event)) is not None
            ]
        )

    def admit(self, sent: Submission, *, key_hash: bytes | None, fingerprint: bytes) -> NewRecord:
        """Return the record to store and count it; raises InvalidError naming the field."""
        item = sent.item
        if not 1 <= item.quantity <= MAX_QUANTITY:
            raise InvalidQuantity.at("quantity", "Send an integer from 1 to 10^15.")
        is_active = self._is_active.get(item.user_id)
        if is_active is None:
            raise UnknownUser.at("user_id", f"There is no user {item.user_id}.")
        if not is_active:
            raise InactiveUser.at("user_id", f"User {item.user_id} is deactivated.")
        meter_id = self._meters.get(item.event)
        if meter_id is None:
            known = ", ".join(self._meters)
            raise UnknownEvent.at("event", f"There is no event {item.event}. Known: {known}.")
        _require_window(sent)
        day = sent.day
        self._totals.add(item.user_id, meter_id, day, item.quantity)
        return NewRecord(
            user_id=item.user_id,
            meter_id=meter_id,
            quantity=item.quantity,
            occurred_at=sent.occurred_at,
            day=day,
            created_at=sent.terms.now,
            recorded_by_id=sent.terms.recorded_by_id,
            idempotency_key=item.idempotency_key,
            key_hash=key_hash,
            fingerprint=fingerprint,
            metadata=dict(item.metadata) if item.metadata else None,
        )


def _require_window(sent: Submission) -> None:
    now, days = sent.terms.now, sent.terms.backfill_days
    if sent.occurred_at > now + FUTURE_TOLERANCE:
        raise OutsideWindow.at("occurred_at", "This is more than 5 minutes in the future.")
    if sent.occurred_at < now - timedelta(days=days):
        raise OutsideWindow.at("occurred_at", f"This is more than {days} days ago.")


class _Totals:
    """The totals of the months that a group touches, as it grows.

    No day can exceed what its month does not, for no day is below zero: months are enough.
    Two writers can each stay below the limit and pass it together only on different days
    of one month; the check on the rollup table holds the line for a single day.
    """

    def __init__(self, keys: Sequence[store.MonthKey]) -> None:
        self._months = store.month_totals(sorted(set(keys)))

    def add(self, user_id: int, meter_id: int, day: date, quantity: int) -> None:
        """Count the quantity; raises QuantityOverflow, counting nothing, beyond 10^18."""
        month = (user_id, meter_id, Month.of(day))
        total = self._months.get(month, 0) + quantity
        if total > MAX_TOTAL:
            raise QuantityOverflow.at(
                "quantity", f"The month {month[2]} of this user and event would exceed 10^18."
            )
        self._months[month] = total
