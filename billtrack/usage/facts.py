"""What the rules must know of a group of records, looked up at once, before any is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from billtrack.core.periods import Month
from billtrack.usage import store
from billtrack.usage.rows import UsedKey
from billtrack.usage.submissions import Submission


@dataclass(frozen=True, slots=True)
class Facts:
    """Which keys are used, which users exist and are active, which events exist, and totals.

    `totals` are in base units, by user, meter and month; those of records whose key is used
    may be missing.
    """

    keys: Mapping[bytes, UsedKey]
    is_active: Mapping[int, bool]
    meters: Mapping[str, int]
    totals: Mapping[store.MonthKey, int]


def months_of(submissions: Sequence[Submission], meters: Mapping[str, int]) -> set[store.MonthKey]:
    """Return whose usage of what in which months the records add to."""
    # Days first: many records share one, and a month takes longer to put into a set.
    days = {(sent.item.user_id, sent.item.event, sent.day) for sent in submissions}
    return {
        (user_id, meter_id, Month.of(day))
        for user_id, event, day in days
        if (meter_id := meters.get(event)) is not None
    }
