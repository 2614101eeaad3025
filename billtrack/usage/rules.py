"""What makes a record acceptable, besides its shape: user, event, time and totals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from billtrack.accounts.queries import users_by_id
from billtrack.core.errors import InvalidError
from billtrack.core.periods import BillingCalendar, Month
from billtrack.usage import store
from billtrack.usage.meters import list_meters

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


class Rulebook:
    """The rules for one group of inputs, with all that they need looked up at once."""

    def __init__(self, inputs: Sequence[UsageInput], terms: Terms) -> None:
        self._terms = terms
        self._users = users_by_id([item.user_id for item in inputs])
        self._meters = {meter.code: meter.id for meter in list_meters()}
        self._totals = _Totals(
            [
                (item.user_id, meter_id, Month.of(self._day(item)))
                for item in inputs
                if (meter_id := self._meters.get(item.event)) is not None
            ]
        )

    def admit(
        self, item: UsageInput, *, key_hash: bytes | None, fingerprint: bytes
    ) -> store.NewRecord:
        """Return the record to store and count it; raises InvalidError naming the field."""
        if not 1 <= item.quantity <= MAX_QUANTITY:
            raise InvalidQuantity.at("quantity", "Send an integer from 1 to 10^15.")
        user = self._users.get(item.user_id)
        if user is None:
            raise UnknownUser.at("user_id", f"There is no user {item.user_id}.")
        if not user.is_active:
            raise InactiveUser.at("user_id", f"User {item.user_id} is deactivated.")
        meter_id = self._meters.get(item.event)
        if meter_id is None:
            known = ", ".join(self._meters)
            raise UnknownEvent.at("event", f"There is no event {item.event}. Known: {known}.")
        occurred_at = self._within_window(item)
        day = self._day(item)
        self._totals.add(item.user_id, meter_id, day, item.quantity)
        return store.NewRecord(
            user_id=item.user_id,
            meter_id=meter_id,
            quantity=item.quantity,
            occurred_at=occurred_at,
            day=day,
            created_at=self._terms.now,
            recorded_by_id=self._terms.recorded_by_id,
            idempotency_key=item.idempotency_key,
            key_hash=key_hash,
            fingerprint=fingerprint,
            metadata=dict(item.metadata) if item.metadata else None,
        )

    def _day(self, item: UsageInput) -> date:
        return self._terms.calendar.day_of(item.occurred_at or self._terms.now)

    def _within_window(self, item: UsageInput) -> datetime:
        occurred_at, now = item.occurred_at or self._terms.now, self._terms.now
        if occurred_at > now + FUTURE_TOLERANCE:
            raise OutsideWindow.at("occurred_at", "This is more than 5 minutes in the future.")
        if occurred_at < now - timedelta(days=self._terms.backfill_days):
            days = self._terms.backfill_days
            raise OutsideWindow.at("occurred_at", f"This is more than {days} days ago.")
        return occurred_at


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
