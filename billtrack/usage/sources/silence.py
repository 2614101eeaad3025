"""When a source that was steady counts as silent. Pure: standard library only, no clock."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta

from billtrack.usage.sources.tally import hour_of

HOUR = timedelta(hours=1)
WEEK = timedelta(weeks=1)
HOURS_OF_A_WEEK = 168
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

WEEKS = 4
"""How far back a source is compared with itself, counted from when it was last seen."""

FEWEST_WEEKS = 2
"""A source that was not seen for that long before has no habits yet."""

FEWEST_MISSED = 2
"""One hour may be missed by a sender that came a minute early or late."""

PATIENCE = 3
"""How many times as long as ever in those weeks it has to be missed."""

FORGOTTEN_AFTER = timedelta(days=60)
"""A source that was not seen for so long is not in use any more, and no longer called silent."""


def silent_since(
    hours: Collection[datetime],
    *,
    first_seen_at: datetime,
    last_seen_at: datetime,
    now: datetime,
) -> datetime | None:
    """Return the start of the first hour that a steady source missed, or None if all is well.

    `hours` are starts of the hours in which it sent anything; those further back than four
    weeks before it was last seen do not matter. An hour of the week is expected if the source
    sent in it in all but one of the last four weeks; of two weeks, if there are no more, in
    both. It is silent once it missed two expected hours that are over, and more than three times
    as many as ever in a row in those weeks. So whoever sends on weekdays is missed on Monday, not
    on Sunday; whoever sends now and then, once a month, or has just begun, is never missed.
    """
    last = hour_of(last_seen_at)
    weeks = min(WEEKS, (last - hour_of(first_seen_at) + HOUR) // WEEK)
    if weeks < FEWEST_WEEKS or now - last_seen_at > FORGOTTEN_AFTER:
        return None
    begin = last + HOUR - weeks * WEEK
    sent = {hour for hour in hours if begin <= hour <= last}
    expected = _habits(sent, needed=max(FEWEST_WEEKS, weeks - 1))
    missed = _expected_between(last + HOUR, hour_of(now), expected)
    usual = _longest_miss(_expected_between(begin, last + HOUR, expected), sent)
    return missed[0] if len(missed) >= FEWEST_MISSED and len(missed) > PATIENCE * usual else None


def _habits(sent: Collection[datetime], *, needed: int) -> set[int]:
    """Return the hours of the week in which it sent in so many weeks."""
    times: dict[int, int] = {}
    for hour in sent:
        times[_hour_of_week(hour)] = times.get(_hour_of_week(hour), 0) + 1
    return {slot for slot, number in times.items() if number >= needed}


def _expected_between(
    starts_at: datetime, ends_at: datetime, expected: Collection[int]
) -> list[datetime]:
    count = max(0, (ends_at - starts_at) // HOUR)
    hours = (starts_at + number * HOUR for number in range(count))
    return [hour for hour in hours if _hour_of_week(hour) in expected]


def _longest_miss(expected: Sequence[datetime], sent: Collection[datetime]) -> int:
    """Return how many expected hours it missed in a row at most."""
    longest = running = 0
    for hour in expected:
        running = 0 if hour in sent else running + 1
        longest = max(longest, running)
    return longest


def _hour_of_week(hour: datetime) -> int:
    return (hour - EPOCH) // HOUR % HOURS_OF_A_WEEK
