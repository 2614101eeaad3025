"""The facts by which the rules decide.

States are what was so when it was seen: a user is active, a key lets in. Each knows the condition
by which the database makes sure that it still is so, and the statement that stores records
without asking first is made of these conditions. A new kind of state belongs into STATES.

Sums are never conditions: a sub-query does not see what other writers have not committed yet.
The database keeps them itself, by the constraint of usage_monthly.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from billtrack.accounts.credentials import key_cache
from billtrack.accounts.credentials.key_cache import LiveKey
from billtrack.core.periods import Month
from billtrack.usage.records.rows import UsedKey
from billtrack.usage.records.submissions import Submission

MonthKey = tuple[int, int, Month]
"""User, meter, billing month."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Which keys are used, which users exist and are active, which events exist, and totals.

    `totals` are in base units, by user, meter and month; those of records whose key is used
    may be missing. `events` are all there are, where one that was sent is not among them.
    """

    keys: Mapping[bytes, UsedKey]
    is_active: Mapping[int, bool]
    meters: Mapping[str, int]
    totals: Mapping[MonthKey, int]
    events: Sequence[str] = ()


class State(ABC):
    """Something that was so when it was seen.

    `holds` tells in SQL whether it is still so of a row `seen`, whose columns are `columns`
    (PostgreSQL).
    """

    name: ClassVar[str]
    columns: ClassVar[str]
    holds: ClassVar[str]

    @abstractmethod
    def as_row(self) -> Mapping[str, Any]:
        """Return the values of the columns."""


@dataclass(frozen=True, slots=True)
class KeyHolds(State):
    """An API key lets in the same active account, with the same role and scopes, as long."""

    name = "keys"
    columns = key_cache.COLUMNS
    holds = key_cache.HOLDS

    key: LiveKey

    def as_row(self) -> Mapping[str, Any]:
        """Return what the key was."""
        return key_cache.as_row(self.key)


@dataclass(frozen=True, slots=True)
class UserActive(State):
    """A user exists and is active."""

    name = "users"
    columns = "user_id bigint"
    holds = "(SELECT deactivated_at IS NULL FROM users WHERE id = seen.user_id) IS TRUE"

    user_id: int

    def as_row(self) -> Mapping[str, Any]:
        """Return who it is."""
        return {"user_id": self.user_id}


@dataclass(frozen=True, slots=True)
class MeterIs(State):
    """A code of an event stands for a meter."""

    name = "meters"
    columns = "code text, meter_id integer"
    holds = "(SELECT id = seen.meter_id FROM meters WHERE code = seen.code) IS TRUE"

    code: str
    meter_id: int

    def as_row(self) -> Mapping[str, Any]:
        """Return the code and its meter."""
        return {"code": self.code, "meter_id": self.meter_id}


STATES: Sequence[type[State]] = (KeyHolds, UserActive, MeterIs)


def assume(
    submissions: Sequence[Submission], *, meters: Mapping[str, int], keys: Collection[LiveKey]
) -> tuple[Facts, Sequence[State]] | None:
    """Return facts by which all the records may be stored, and the states that have to hold.

    None where an event is not among the `meters` that were seen. `keys` are those by which the
    records were sent. No idempotency key is taken to be used: one that is fails the statement.
    """
    events = {sent.item.event for sent in submissions}
    users = {sent.item.user_id for sent in submissions}
    if not events <= meters.keys():
        return None
    states = [
        *(KeyHolds(key) for key in keys),
        *(UserActive(user_id) for user_id in users),
        *(MeterIs(code, meters[code]) for code in events),
    ]
    return Facts({}, dict.fromkeys(users, True), meters, {}), states


def months_of(submissions: Iterable[Submission], meters: Mapping[str, int]) -> set[MonthKey]:
    """Return whose usage of what in which months the records add to."""
    # Days first: many records share one, and a month takes longer to put into a set.
    days = {(sent.item.user_id, sent.item.event, sent.day) for sent in submissions}
    return {
        (user_id, meter_id, Month.of(day))
        for user_id, event, day in days
        if (meter_id := meters.get(event)) is not None
    }
