"""The daily tables of a PDF report: text in columns, a line for each day.

Cells of real tables take WeasyPrint most of a millisecond each, and a year has thousands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

from billtrack.core.periods import DateRange
from billtrack.documents.reports.catalog import UsageReport
from billtrack.presentation.filters import MeterView, amount, number, unit_suffix

DIGIT, POINT = "\N{FIGURE SPACE}", "\N{PUNCTUATION SPACE}"
"""Spaces as wide as a digit (and a minus), and as a point or comma, in the font of figures."""

WIDTHS = ((5, 18, 5), (3, 26, 9), (1, 80, 40))
"""Columns beside each other, and the digits and points that each has room for: print.css."""

DAY_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Column:
    """A heading, the texts of some days, and their sum."""

    head: str
    texts: Sequence[str]
    total: str


@dataclass(frozen=True, slots=True)
class DayTable:
    """Some columns of the days of one month; `across` is how many stand beside each other."""

    first: date
    last: date
    across: int
    heads: Sequence[str]
    lines: str
    sums: str


@dataclass(frozen=True, slots=True)
class Days:
    """The daily tables. `has_gaps` tells that days without usage are left out of them."""

    tables: Sequence[DayTable]
    has_gaps: bool
    total_minor: int


def days_of_use(report: UsageReport, meters: Mapping[str, MeterView]) -> Days:
    """Return a table for each month with the days on which anything was used or cost."""
    used = [meters[meter.code] for meter in report.used_meters]
    windows = [window for _, window in report.shown.months()]
    months = [(window, [day for day in window if _has_use(report, day)]) for window in windows]
    columns = {window: _columns(report, used, days) for window, days in months if days}
    across, digits, points = _layout([column for month in columns.values() for column in month])
    tables = [
        _table(window, days, columns[window][start : start + across], (across, digits, points))
        for window, days in months
        if days
        for start in range(0, len(columns[window]), across)
    ]
    return Days(
        tables=tables,
        has_gaps=any(len(days) < window.days for window, days in months),
        total_minor=sum(report.cost_on(day) for day in report.shown),
    )


def _has_use(report: UsageReport, day: date) -> bool:
    return any(report.quantity_on(meter, day) for meter in report.meters) or any(
        by_day.get(day, 0) for by_day in report.costs.values()
    )


def _columns(report: UsageReport, used: Sequence[MeterView], days: Sequence[date]) -> list[Column]:
    """Return a column for each meter and one for the amounts."""
    columns = []
    for view in used:
        by_day = report.quantities.get(view.code, {})
        values = [by_day.get(day, 0) for day in days]
        head = view.name + unit_suffix(view)
        columns.append(_column(head, values, partial(number, meter=view)))
    amounts = [report.cost_on(day) for day in days]
    write = partial(amount, currency=report.currency)
    return [*columns, _column(f"Amount, {report.currency}", amounts, write)]


def _column(head: str, values: Sequence[int], write: Callable[[int], str]) -> Column:
    return Column(head, [write(value) for value in values], write(sum(values)))


def _layout(columns: Sequence[Column]) -> tuple[int, int, int]:
    """Choose the narrowest columns that hold every figure with a space before it."""
    texts = [text for column in columns for text in (*column.texts, column.total)]
    digits = max((len(text) - _points(text) for text in texts), default=0)
    points = max(map(_points, texts), default=0)
    return next((w for w in WIDTHS if digits < w[1] and points <= w[2]), WIDTHS[-1])


def _table(
    window: DateRange,
    days: Sequence[date],
    columns: Sequence[Column],
    layout: tuple[int, int, int],
) -> DayTable:
    across, *room = layout
    lines = [
        _day(day) + "".join(_padded(column.texts[index], *room) for column in columns)
        for index, day in enumerate(days)
    ]
    return DayTable(
        first=window.first,
        last=window.last,
        across=across,
        heads=[column.head for column in columns],
        lines="\n".join(lines),
        sums="".join(_padded(column.total, *room) for column in columns),
    )


def _day(day: date) -> str:
    text = str(day.day)
    return DIGIT * (2 - len(text)) + text + DIGIT * (DAY_DIGITS - 2)


def _padded(text: str, digits: int, points: int) -> str:
    own = _points(text)
    return POINT * (points - own) + DIGIT * (digits - len(text) + own) + text


def _points(text: str) -> int:
    return text.count(".") + text.count(",")
