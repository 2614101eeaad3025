"""Who is missed, by example: habits of hours, weekdays and nights, and those without any."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from billtrack.usage.sources.silence import silent_since

HOUR = timedelta(hours=1)
SUNDAY_NIGHT = datetime(2026, 11, 30, tzinfo=UTC)
"""The Monday on which all examples end; it was preceded by a whole week."""

Habit = Callable[[datetime], bool]


def always(_hour: datetime) -> bool:
    return True


def on_weekdays(hour: datetime) -> bool:
    return hour.weekday() < 5


def at_office_hours(hour: datetime) -> bool:
    return hour.weekday() < 5 and 8 <= hour.hour < 18


def nightly(hour: datetime) -> bool:
    return hour.hour == 2


def on_mondays(hour: datetime) -> bool:
    return hour.weekday() == 0 and hour.hour == 6


def monthly(hour: datetime) -> bool:
    return hour.day == 1 and hour.hour == 6


def now_and_then(hour: datetime) -> bool:
    """Two hours of three, by chance, always the same ones."""
    return Random(hour.isoformat()).random() < 2 / 3


def sent(habit: Habit, *, weeks: int, until: datetime) -> list[datetime]:
    first = until - timedelta(weeks=weeks)
    hours = [first + number * HOUR for number in range(weeks * 168)]
    return [hour for hour in hours if habit(hour)]


def look(hours: list[datetime], now: datetime) -> datetime | None:
    """Look at a source that sent in these hours, 40 minutes past each."""
    past = timedelta(minutes=40)
    return silent_since(
        hours, first_seen_at=min(hours) + past, last_seen_at=max(hours) + past, now=now
    )


@pytest.mark.parametrize(
    ("habit", "quiet", "missed"),
    [
        # It sends every hour: two whole hours have to be missed.
        (always, 1.9, None),
        (always, 2.0, 0),
        (always, 50.5, 0),
        # Not on weekends, so from Friday's end until Monday nobody misses it.
        (on_weekdays, -0.1, None),
        (on_weekdays, 1.9, None),
        (on_weekdays, 2.0, 0),
        (at_office_hours, 9.9, None),
        (at_office_hours, 10.0, 8),
        # One night may be late; after two something is wrong.
        (nightly, 23.9, None),
        (nightly, 27.0, 2),
        (on_mondays, 24.0, None),
        (on_mondays, 7 * 24 + 7.0, 6),
        # No habit, so nothing is missed for as long as it takes.
        (monthly, 24.0, None),
        (monthly, 24 * 40.0, None),
        (now_and_then, 4.0, None),
        (now_and_then, 9.0, None),
    ],
)
def test_it_is_missed_where_it_used_to_send(habit: Habit, quiet: float, missed: int | None) -> None:
    """`quiet` hours after Monday began, it is missed since that hour of Monday, or not at all."""
    hours = sent(habit, weeks=5, until=SUNDAY_NIGHT)
    found = look(hours, SUNDAY_NIGHT + timedelta(hours=quiet))
    assert found == (None if missed is None else SUNDAY_NIGHT + missed * HOUR)


def test_one_that_is_there_again_is_not_missed() -> None:
    hours = sent(always, weeks=5, until=SUNDAY_NIGHT)
    back = SUNDAY_NIGHT + 9 * HOUR
    assert look(hours, back) == SUNDAY_NIGHT
    assert look([*hours, back], back + HOUR) is None


def test_one_that_pauses_now_and_then_may_pause_longer() -> None:
    hours = sent(always, weeks=5, until=SUNDAY_NIGHT)
    pause = {SUNDAY_NIGHT - number * HOUR for number in range(100, 105)}
    steady = [hour for hour in hours if hour not in pause]
    assert look(steady, SUNDAY_NIGHT + 15 * HOUR) is None  # three times the five hours of before
    assert look(steady, SUNDAY_NIGHT + 16 * HOUR) == SUNDAY_NIGHT


def test_one_saturday_at_work_is_no_habit() -> None:
    saturday = SUNDAY_NIGHT - timedelta(days=9)
    hours = [
        *sent(on_weekdays, weeks=5, until=SUNDAY_NIGHT),
        *(saturday + number * HOUR for number in range(8, 18)),
    ]
    assert look(hours, SUNDAY_NIGHT + HOUR) is None
    assert look(hours, SUNDAY_NIGHT + 2 * HOUR) == SUNDAY_NIGHT


def test_it_takes_two_weeks_to_have_habits() -> None:
    for weeks, missed in ((1, None), (2, SUNDAY_NIGHT), (3, SUNDAY_NIGHT)):
        hours = sent(always, weeks=weeks, until=SUNDAY_NIGHT)
        assert look(hours, SUNDAY_NIGHT + 3 * HOUR) == missed


def test_one_week_of_four_may_have_been_without() -> None:
    week = timedelta(weeks=1)
    hours = [
        hour
        for hour in sent(nightly, weeks=5, until=SUNDAY_NIGHT)
        if not SUNDAY_NIGHT - 3 * week <= hour < SUNDAY_NIGHT - 3 * week + timedelta(hours=3)
    ]
    assert look(hours, SUNDAY_NIGHT + 74 * HOUR) is None  # three nights: three times the one
    assert look(hours, SUNDAY_NIGHT + 75 * HOUR) == SUNDAY_NIGHT + 2 * HOUR


def test_after_sixty_days_it_is_forgotten() -> None:
    hours = sent(always, weeks=5, until=SUNDAY_NIGHT)
    assert look(hours, SUNDAY_NIGHT + timedelta(days=59)) == SUNDAY_NIGHT
    assert look(hours, SUNDAY_NIGHT + timedelta(days=61)) is None
