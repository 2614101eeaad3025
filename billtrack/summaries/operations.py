"""Take the summary of the month and keep it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy.dialects import postgresql, sqlite

from billtrack.core.periods import DateRange, Month
from billtrack.db import end_read, transaction
from billtrack.extensions import db
from billtrack.statements.queries import Terms
from billtrack.summaries.counting import count_month
from billtrack.summaries.figures import Summary, costs_to_json, overview_to_json
from billtrack.summaries.models import MonthSummary
from billtrack.summaries.queries import find_taken_at, is_small

REFRESH_AFTER = timedelta(seconds=45)


def refresh(*, terms: Terms) -> bool:
    """Count this month through today and keep the figures; tell whether that was needed.

    It is not where few customers are counted while somebody waits, nor within 45 seconds of
    the last time. Owns its transaction, so that everything is read from one snapshot and the
    lock is held for one statement only. Safe in several workers at once: the latest count stays.
    """
    today = terms.calendar.today(terms.now)
    days = DateRange(Month.of(today).first, today)
    end_read()
    if is_small():
        return False
    taken_at = find_taken_at(days)
    if taken_at is not None and taken_at > terms.now - REFRESH_AFTER:
        return False
    summary = count_month(days, terms=terms)
    with transaction():
        _keep(summary)
    return True


def _keep(summary: Summary) -> None:
    """Write the row of the month unless it is from a later instant."""
    overview = summary.overview
    is_postgresql = db.session.get_bind().dialect.name == "postgresql"
    insert = postgresql.insert if is_postgresql else sqlite.insert
    row: dict[str, Any] = {
        "month": overview.days.first,
        "covers_through": overview.days.last,
        "taken_at": overview.taken_at,
        "overview": overview_to_json(overview),
        "customers": costs_to_json(summary.costs),
    }
    statement = insert(MonthSummary).values(row)
    changes = {name: statement.excluded[name] for name in row if name != "month"}
    is_older = MonthSummary.taken_at < statement.excluded.taken_at
    db.session.execute(
        statement.on_conflict_do_update(index_elements=["month"], set_=changes, where=is_older)
    )
