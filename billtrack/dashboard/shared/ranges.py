"""Ranges of days on the pages: what an address asks for, presets, and bars over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from babel.dates import format_date
from flask import request
from markupsafe import Markup

from billtrack.core.periods import DateRange, Month
from billtrack.dashboard.shared.forms import MAX_DAYS
from billtrack.dashboard.shared.periods import read_month
from billtrack.presentation.charts import BASE, LABELS, Series, _Plot
from billtrack.presentation.drawings import WHOLE, Drawing, Key
from billtrack.presentation.filters import LOCALE, day, month
from billtrack.usage.ingest.fields import YEARS

MOST_DAILY_BARS = 92  # a quarter; what is longer is shown by month
MONTHS_BACK = 12
RECENT_DAYS = 30

Values = Mapping[date, int]
"""A value for each day, or for each month under its first day; none is 0."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The inclusive days of an address, or those shown in their place, and why."""

    days: DateRange
    problem: str | None = None

    @property
    def by_month(self) -> bool:
        """Whether there are too many days for a bar each."""
        return self.days.days > MOST_DAILY_BARS


def read_asked(today: date) -> Asked:
    """Return the days that `month`, or `from` and `to`, ask for; this month so far without them.

    What cannot be read is said in `problem`, except for a month: it is this one then.
    """
    typed = request.args.get("from", ""), request.args.get("to", "")
    this = DateRange(Month.of(today).first, today)
    if not any(typed):
        chosen = read_month(request.args.get("month"), default=Month.of(today))
        return Asked(this if chosen == Month.of(today) else chosen.dates)
    try:
        first, last = (date.fromisoformat(text) for text in typed)
    except ValueError:
        return Asked(this, "Choose both days of the range, such as 2026-11-01 and 2026-11-22.")
    if first.year not in YEARS or last.year not in YEARS:
        return Asked(this, f"Choose days of the years {YEARS[0]} to {YEARS[-1]}.")
    if last < first:
        return Asked(this, "The range ends before it begins. Choose its days the other way round.")
    if (last - first).days >= MAX_DAYS:
        return Asked(this, f"Choose at most {MAX_DAYS:,} days.")
    return Asked(DateRange(first, last))


def customer_presets(today: date) -> list[tuple[str, dict[str, Any], DateRange]]:
    """Return label, arguments and days of the ranges that a customer's page offers."""
    this, year = Month.of(today), _last_months(today)
    return [
        ("This month", {}, DateRange(this.first, today)),
        ("Last month", {"month": str(this.previous)}, this.previous.dates),
        ("12 months", _arguments(year), year),
    ]


def usage_presets(today: date) -> list[tuple[str, dict[str, Any]]]:
    """Return label and arguments of the ranges that the list of usage offers."""
    this = Month.of(today)
    ranges = (
        ("Today", DateRange(today, today)),
        ("This month", DateRange(this.first, today)),
        ("Last month", this.previous.dates),
        ("12 months", _last_months(today)),
    )
    return [("All", {}), *((label, _arguments(days)) for label, days in ranges)]


def charted_days(first: date | None, last: date | None, today: date) -> DateRange:
    """Return the days to draw of a range that may be open: 30 where it has no beginning.

    A range that is far too long for bars is cut to its last days.
    """
    end = last or max(today, first or today)
    span = RECENT_DAYS if first is None else min((end - first).days + 1, MAX_DAYS)
    return DateRange(end - timedelta(days=span - 1), end)


def by_month(values: Values) -> dict[date, int]:
    """Add the values of days up to their months."""
    sums: dict[date, int] = {}
    for when, value in values.items():
        first = when.replace(day=1)
        sums[first] = sums.get(first, 0) + value
    return sums


def bars(
    asked: Asked,
    lines: Sequence[tuple[str, int, Values]],
    *,
    title: str,
    tell: Callable[[int], str],
    factor: int = 1,
) -> Drawing | None:
    """Stack lines of label, colour and values by day or by month; None where all is nothing.

    `factor` is how many of their units one unit of the axis has; `tell` writes one value.
    """
    starts = [own.first for own, _ in asked.days.months()] if asked.by_month else list(asked.days)
    series = [
        Series(label, colour, [values.get(start, 0) for start in starts])
        for label, colour, values in lines
        if any(values.values())
    ]
    if not series:
        return None
    columns = [list(column) for column in zip(*(one.values for one in series), strict=True)]
    name = month if asked.by_month else day
    rows = [
        [name(start), *(tell(value) for value in _with_sum(column))]
        for start, column in zip(starts, columns, strict=True)
    ]
    heads = [one.label for one in series] + (["Total"] if len(series) > 1 else [])
    plot = _Plot(columns, factor, None)
    parts = [plot.grid(), *_labels(plot, starts, asked)]
    for index, row in enumerate(rows):
        told = ", ".join(f"{head} {text}" for head, text in zip(heads, row[1:], strict=True))
        parts.append(plot.bars(index, columns[index], series, f"{row[0]}: {told}"))
    svg = plot.frame(title, Markup().join(parts))
    legend = [Key(one.label, one.colour) for one in series]
    return Drawing(title, svg, legend, ["Month" if asked.by_month else "Day", *heads], rows)


def _with_sum(column: list[int]) -> list[int]:
    return [*column, sum(column)] if len(column) > 1 else column


def _labels(plot: _Plot, starts: Sequence[date], asked: Asked) -> list[Markup]:
    if not asked.by_month:
        return [plot.day_labels(starts)]
    every = -(-len(starts) // LABELS)
    mark = Markup('<text x="{}" y="{}" text-anchor="middle" {}>{}</text>')
    return [
        mark.format(
            plot.x((2 * index + 1) * WHOLE // (2 * len(starts))),
            *(BASE + 18, plot.paint("text")),
            format_date(starts[index], "MMM yy", locale=LOCALE),
        )
        for index in range(0, len(starts), every)
    ]


def _last_months(today: date) -> DateRange:
    first = Month.of(today)
    for _ in range(MONTHS_BACK - 1):
        first = first.previous
    return DateRange(first.first, today)


def _arguments(days: DateRange) -> dict[str, Any]:
    return {"from": str(days.first), "to": str(days.last)}
