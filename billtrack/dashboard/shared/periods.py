"""The months that pages offer."""

from __future__ import annotations

from babel.dates import format_date

from billtrack.core.periods import Month
from billtrack.presentation.filters import LOCALE

MONTHS_OFFERED = 13


def month_choices(current: Month, *shown: Month) -> list[tuple[str, str]]:
    """Return value and label of the months that pickers offer, the newest first.

    They are the current one, those before it, and what is shown if it is another.
    """
    months = [current]
    for _ in range(MONTHS_OFFERED - 1):
        months.append(months[-1].previous)
    offered = sorted({*months, *shown}, reverse=True)
    return [(str(month), format_date(month.first, "MMMM y", locale=LOCALE)) for month in offered]


def read_month(text: str | None, *, default: Month) -> Month:
    """Return the month of an address, or the default for one that is no month."""
    try:
        return Month.parse(text) if text else default
    except ValueError:
        return default
