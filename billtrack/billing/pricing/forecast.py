"""What the days of a month that are still to come will probably bring, and how sure that is.

The level of the last days, which weigh more the nearer they are, spread over the week as the
last eight weeks were. Priced by the ordinary rules of statements, so tiers, fees, minimums and
commitments count as they will. Tried against the other methods by tests/pricing/test_forecast.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from fractions import Fraction
from itertools import accumulate, groupby
from operator import mul

from billtrack.core.periods import Month

WEEK = 7
WINDOW = 8 * WEEK
"""Days of history that count, yesterday the last."""

PATTERN_FROM = 2 * WEEK
"""Days of history from which weekdays are told apart."""

SHORT_PAUSE = 2
"""Days without use, such as a weekend, that never mean an end."""

TRIED_WEEKS = 4
"""Weeks whose expectations are compared with what came, to tell how sure one is."""

LIKELY = 2
"""How many usual errors wide the band is, to each side: nine months of ten end within it."""

# The weight of a day falls by a tenth a day: half of it is gone after a week.
_WEIGHTS = tuple(accumulate(range(WINDOW - 1), lambda w, _: w * 9 // 10, initial=10**9))[::-1]


def expected_quantities(history: Sequence[int], *, days: int) -> list[int]:
    """Return the quantities to expect on the next `days` days, base units, never negative.

    `history` is one quantity a day, yesterday the last; days before the first use do not
    count. Use that has paused for longer than twice its longest pause is taken to have ended.
    """
    window = _since_first_use(history)
    if not window or _has_ended(window):
        return [0] * days
    weights = _WEIGHTS[-len(window) :]
    pattern = _pattern(window)
    level = sum(map(mul, weights, window))
    scale = sum(
        share * sum(weights[(len(window) + place) % WEEK :: WEEK])
        for place, share in enumerate(pattern)
    )
    week = [(2 * level * share + scale) // (2 * scale) for share in pattern]
    return [week[place % WEEK] for place in range(days)]


def expected_month(
    usage: Mapping[str, Mapping[date, int]], *, today: date
) -> dict[str, dict[date, int]]:
    """Return the usage of today's month: what was, and from today on what is to be expected.

    `usage` is base units by meter and day, at best from eight weeks before today on; a missing
    day is 0. Today is not over, so its quantity is the greater of what it has and what it is
    expected to have; where it is the first day of all, the others follow it.
    """
    month = Month.of(today)
    days = list(month.dates)
    past, ahead = days[: today.day - 1], days[today.day - 1 :]
    window = [today - timedelta(days=before) for before in range(WINDOW, 0, -1)]
    outlook: dict[str, dict[date, int]] = {}
    for meter, daily in usage.items():
        history, so_far = [daily.get(day, 0) for day in window], daily.get(today, 0)
        expected = expected_quantities(history if any(history) else [so_far], days=len(ahead))
        expected[0] = max(expected[0], so_far)
        known = {day: daily[day] for day in past if day in daily}
        outlook[meter] = known | dict(zip(ahead, expected, strict=True))
    return outlook


def usual_error(history: Sequence[int]) -> Fraction:
    """Return the mean share by which weeks of the past missed what was expected of them.

    `history` is one quantity a day, yesterday the last. 0 means that they came as expected,
    1 that all of it came or went unforeseen, which is also the answer without two weeks.
    """
    missed: list[Fraction] = []
    for weeks in range(1, TRIED_WEEKS + 1):
        known = history[: max(0, len(history) - WEEK * weeks)]
        came = sum(history[len(known) : len(known) + WEEK])
        expected = sum(expected_quantities(known, days=WEEK))
        if any(known) and max(expected, came):
            missed.append(Fraction(abs(came - expected), max(expected, came)))
    return sum(missed, Fraction(0)) / len(missed) if missed else Fraction(1)


def likely_miss(coming: int, history: Sequence[int]) -> int:
    """Return by how much what is still to come may miss, nine times of ten; in its own unit.

    `coming` is an amount or quantity that is expected, `history` the daily quantities behind
    it, yesterday the last.
    """
    return math.ceil(abs(coming) * LIKELY * usual_error(history))


def _since_first_use(history: Sequence[int]) -> Sequence[int]:
    window = history[-WINDOW:]
    first = next((place for place, quantity in enumerate(window) if quantity), len(window))
    return window[first:]


def _has_ended(window: Sequence[int]) -> bool:
    """Tell whether the days without use at the end are more than a pause."""
    if any(window[-SHORT_PAUSE - 1 :]):
        return False
    *pauses, last = (len(list(run)) for used, run in groupby(window, key=bool) if not used)
    return last > max(SHORT_PAUSE, 2 * max(pauses, default=0))


def _pattern(window: Sequence[int]) -> list[int]:
    """Return how use spreads over the seven days that follow, as shares of any sum above 0."""
    whole = window[-(len(window) // WEEK * WEEK) :]
    if len(window) < PATTERN_FROM or not any(whole):
        return [1] * WEEK
    return [sum(whole[place::WEEK]) for place in range(WEEK)]
