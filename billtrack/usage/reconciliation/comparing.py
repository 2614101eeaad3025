"""Compare a sender's totals with what is stored of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from billtrack.core.errors import FieldError, InvalidError
from billtrack.core.periods import BillingCalendar, DateRange
from billtrack.usage.reconciliation.stored import Place, stored_totals
from billtrack.usage.records.meters import meter_ids

MAX_TOTALS = 10_000
MAX_DAYS = 92
"""Days that are compared at once, a quarter: their records are all read for it."""
MAX_PLACES = 50_000
"""Stored totals that are compared at once; per user they can be many."""
MAX_TOTAL = 10**24
MAX_ERRORS = 50


class InvalidTotals(InvalidError):
    """The totals cannot be compared: a line is wrong, there twice, or of no day of the period."""

    code = "invalid_totals"


class State(StrEnum):
    """What a total is beside the other."""

    EQUAL = "equal"
    MISSING_HERE = "missing_here"
    """Less is stored than was sent."""
    MORE_HERE = "more_here"
    """More is stored than was sent."""
    ONLY_HERE = "only_here"
    """Stored, and the sender has no total for it."""


@dataclass(frozen=True, slots=True)
class SentTotal:
    """What a sender says it used up on a day: net of reversals, in base units, 0 or more.

    `place` is where it stands in the request or the file.
    """

    day: date
    event: str
    user_id: int | None
    quantity: int
    place: str = field(compare=False)

    @property
    def key(self) -> Place:
        """What it is a total of."""
        return self.day, self.event, self.user_id


@dataclass(frozen=True, slots=True)
class Comparison:
    """A total of both sides in base units; `sent` is None where the sender has none."""

    day: date
    event: str
    user_id: int | None
    sent: int | None
    stored: int

    @property
    def difference(self) -> int:
        """How much more is stored than was sent."""
        return self.stored - (self.sent or 0)

    @property
    def state(self) -> State:
        """What the stored total is beside the sent one."""
        if self.sent is None:
            return State.ONLY_HERE
        if self.difference == 0:
            return State.EQUAL
        return State.MISSING_HERE if self.difference < 0 else State.MORE_HERE


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """What was compared: inclusive billing days and lines, those that differ first."""

    days: DateRange
    lines: Sequence[Comparison]

    @property
    def counts(self) -> Mapping[State, int]:
        """How many lines are what."""
        return Counter(line.state for line in self.lines)

    @property
    def differences(self) -> Sequence[Comparison]:
        """The lines that are not equal."""
        return [line for line in self.lines if line.state is not State.EQUAL]


def reconcile(
    totals: Sequence[SentTotal],
    *,
    account_id: int,
    days: DateRange | None,
    calendar: BillingCalendar,
) -> Reconciliation:
    """Compare the totals with what is stored of the account.

    `days` are inclusive billing days, at most 92, that the totals have to be of; None for those
    from the first to the last total. With users, all totals are per user. Raises InvalidTotals.
    """
    asked = _require_period(totals, days)
    _require_right(totals, asked)
    sent = {total.key: total.quantity for total in totals}
    stored = stored_totals(
        account_id,
        asked,
        calendar=calendar,
        by_user=any(total.user_id is not None for total in totals),
        limit=MAX_PLACES + 1,
    )
    if len(stored) > MAX_PLACES:
        raise InvalidTotals(f"There are more than {MAX_PLACES:,} totals. Compare fewer days.")
    return Reconciliation(asked, _compare(sent, stored))


def _compare(sent: Mapping[Place, int], stored: Mapping[Place, int]) -> list[Comparison]:
    # What was recorded and taken back again is nothing, whether the sender has a 0 for it or not.
    places = sent.keys() | {place for place, quantity in stored.items() if quantity}
    lines = [Comparison(*place, sent.get(place), stored.get(place, 0)) for place in places]
    return sorted(
        lines,
        key=lambda line: (line.state is State.EQUAL, line.day, line.event, line.user_id or 0),
    )


def _require_period(totals: Sequence[SentTotal], days: DateRange | None) -> DateRange:
    if not totals and days is None:
        raise InvalidTotals("Send a total, or the days to compare.")
    if len(totals) > MAX_TOTALS:
        raise InvalidTotals(f"Send at most {MAX_TOTALS:,} totals at once.")
    asked = days or DateRange(min(one.day for one in totals), max(one.day for one in totals))
    if asked.days > MAX_DAYS:
        raise InvalidTotals(f"Compare at most {MAX_DAYS} days at once: these are {asked.days}.")
    return asked


def _require_right(totals: Sequence[SentTotal], days: DateRange) -> None:
    errors = list(_wrong(totals, days))
    if errors:
        first = f"{errors[0].field}: {errors[0].detail}"
        more = f" {len(errors) - 1} more are wrong." if len(errors) > 1 else ""
        raise InvalidTotals(first + more, errors=errors[:MAX_ERRORS])


def _wrong(totals: Sequence[SentTotal], days: DateRange) -> Iterable[FieldError]:
    events = meter_ids().keys()
    by_user = any(total.user_id is not None for total in totals)
    seen: dict[Place, str] = {}
    for total in totals:
        first = seen.setdefault(total.key, total.place)
        if total.event not in events:
            known = ", ".join(events)
            yield FieldError(f"{total.place}.event", f"There is no such event. Known: {known}.")
        if not days.contains(total.day):
            yield FieldError(f"{total.place}.day", f"It lies outside {days.first} to {days.last}.")
        if by_user and total.user_id is None:
            yield FieldError(f"{total.place}.user_id", "Give all totals a user, or none.")
        if first != total.place:
            yield FieldError(total.place, f"The same total stands at {first}.")
