"""What the rules must know of a group of records, looked up at once, before any is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from billtrack.accounts.queries import find_activity
from billtrack.core.periods import Month
from billtrack.usage import store
from billtrack.usage.meters import meter_ids
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


def find_facts(submissions: Sequence[Submission], hashes: Sequence[bytes | None]) -> Facts:
    """Return what is known now of these records and of the keys that they come under."""
    keys = store.used_keys([key for key in hashes if key is not None])
    fresh = [sent for sent, key in zip(submissions, hashes, strict=True) if key not in keys]
    if not fresh:
        return Facts(keys, {}, {}, {})
    meters = meter_ids()
    users = find_activity([sent.item.user_id for sent in fresh])
    return Facts(keys, users, meters, store.month_totals(sorted(months_of(fresh, meters))))


def months_of(submissions: Sequence[Submission], meters: Mapping[str, int]) -> set[store.MonthKey]:
    """Return whose usage of what in which months the records add to."""
    return {
        (sent.item.user_id, meter_id, Month.of(sent.day))
        for sent in submissions
        if (meter_id := meters.get(sent.item.event)) is not None
    }
