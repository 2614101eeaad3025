"""Take the summaries of this month and of those before it, and keep them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import or_

from billtrack.billing.month_totals.counting import count_month
from billtrack.billing.month_totals.figures import Summary, costs_to_json, overview_to_json
from billtrack.billing.month_totals.models import MonthSummary
from billtrack.billing.month_totals.months import MONTHS
from billtrack.billing.month_totals.queries import find_taken_at, is_small
from billtrack.billing.statements.queries import Terms
from billtrack.core.periods import DateRange, Month
from billtrack.platform.db import end_read, transaction
from billtrack.platform.upsert import upsert

REFRESH_AFTER = timedelta(seconds=45)
LAST_MONTH_AFTER = timedelta(minutes=10)
OLDER_AFTER = timedelta(hours=6)
"""When kept figures are counted again: well before pages find them too old."""

CLOCKS_APART = timedelta(minutes=5)
"""Figures taken further ahead than this are from a clock that was wrong, and are replaced."""


def refresh(*, terms: Terms) -> bool:
    """Count this month through today and keep the figures; tell whether that was needed.

    It is not where few customers are counted while somebody waits, nor within 45 seconds of
    the last time. Owns its transaction, so that everything is read from one snapshot and the
    lock is held for one statement only. Safe in several workers at once: the latest count stays.
    """
    today = terms.calendar.today(terms.now)
    days = DateRange(Month.of(today).first, today)
    end_read()
    return not is_small() and _refresh(days, REFRESH_AFTER, terms)


def refresh_past(*, terms: Terms) -> bool:
    """Count one of the 12 months before this one, the newest that needs it; tell whether one did.

    One at a time, so that this month never waits for all of them. As safe as `refresh`.
    """
    end_read()
    if is_small():
        return False
    month, after = Month.of(terms.calendar.today(terms.now)), LAST_MONTH_AFTER
    for _ in range(MONTHS - 1):
        month = month.previous
        if _refresh(month.dates, after, terms):
            return True
        after = OLDER_AFTER
    return False


def _refresh(days: DateRange, after: timedelta, terms: Terms) -> bool:
    """Count the days and keep the figures, unless those kept are younger than `after`."""
    taken_at = find_taken_at(days)
    if taken_at is not None and terms.now - after < taken_at <= terms.now + CLOCKS_APART:
        return False
    summary = count_month(days, terms=terms)
    with transaction():
        _keep(summary)
    return True


def _keep(summary: Summary) -> None:
    """Write the row of the month unless it is from a later instant."""
    overview = summary.overview
    row: dict[str, Any] = {
        "month": overview.days.first,
        "covers_through": overview.days.last,
        "taken_at": overview.taken_at,
        "overview": overview_to_json(overview),
        "customers": costs_to_json(summary.costs),
    }
    kept = MonthSummary.taken_at
    upsert(
        MonthSummary,
        [row],
        key=["month"],
        changes=lambda excluded: {name: excluded[name] for name in row if name != "month"},
        where=lambda new: or_(kept < new.taken_at, kept > overview.taken_at + CLOCKS_APART),
    )
