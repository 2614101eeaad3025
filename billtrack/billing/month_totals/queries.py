"""Read the figures of this month: counted now for few customers, as last kept for many."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Role
from billtrack.accounts.users.queries import users_by_id
from billtrack.billing.month_totals.counting import count_month
from billtrack.billing.month_totals.figures import (
    CustomerCost,
    MonthOverview,
    costs_from_json,
    overview_from_json,
)
from billtrack.billing.month_totals.models import MonthSummary
from billtrack.billing.statements.queries import Terms
from billtrack.core.periods import DateRange, Month
from billtrack.platform.extensions import db

SMALL = 50
"""Customers that are priced while somebody waits: about a tenth of a second."""

FRESH_FOR = timedelta(minutes=2)
"""How old the kept figures of this month may be; of months before it, see `_fresh_for`."""


def get_overview(days: DateRange, *, terms: Terms) -> MonthOverview:
    """Return the overview of the inclusive days, which begin a month and end with it or today.

    With more than 50 customers it is at most two minutes old, of last month 20 minutes and of
    one before 12 hours, see its `taken_at`, as long as a worker refreshes it; else, and without
    a worker, it is counted now.
    """
    kept = _find_fresh(MonthSummary.overview, days, terms)
    overview = count_month(days, terms=terms).overview if kept is None else overview_from_json(kept)
    users = users_by_id([customer.user_id for customer in overview.ranking])
    return overview.named({user_id: user.name for user_id, user in users.items()})


def list_costs(days: DateRange, *, terms: Terms) -> dict[int, CustomerCost]:
    """Return what each customer costs by user id, as fresh as get_overview and for its days.

    Customers who opened their account since then are missing.
    """
    kept = _find_fresh(MonthSummary.customers, days, terms)
    return count_month(days, terms=terms).costs if kept is None else costs_from_json(kept)


def list_kept_months(*, terms: Terms) -> list[Month]:
    """Return the months before this one whose kept figures are fresh, the newest first."""
    current = Month.of(terms.calendar.today(terms.now))
    rows = db.session.execute(
        select(MonthSummary.month, MonthSummary.covers_through, MonthSummary.taken_at)
        .where(MonthSummary.month < current.first)
        .order_by(MonthSummary.month.desc())
    )
    return [
        month
        for first, through, taken_at in rows
        if through == (month := Month.of(first)).last
        and taken_at > terms.now - _fresh_for(month, current)
    ]


def find_taken_at(days: DateRange) -> datetime | None:
    """Return when these very days were last counted, or None if they never were."""
    query = select(MonthSummary.taken_at).where(
        MonthSummary.month == days.first, MonthSummary.covers_through == days.last
    )
    return db.session.scalar(query)


def find_age(*, now: datetime) -> timedelta | None:
    """Return how long ago the newest kept month was counted; None where nothing is kept."""
    if is_small():
        return None
    query = select(MonthSummary.taken_at).order_by(MonthSummary.month.desc()).limit(1)
    taken_at = db.session.scalar(query)
    return None if taken_at is None else now - taken_at


def is_small() -> bool:
    """Tell whether there are so few customers that nothing needs to be kept."""
    query = select(User.id).where(User.role == Role.CUSTOMER).limit(SMALL + 1)
    return len(db.session.scalars(query).all()) <= SMALL


def _find_fresh(column: Any, days: DateRange, terms: Terms) -> dict[str, Any] | None:
    """Return a column of the row of these days, or None if they are to be counted now."""
    if is_small():
        return None
    current = Month.of(terms.calendar.today(terms.now))
    query = select(column).where(
        MonthSummary.month == days.first,
        MonthSummary.covers_through == days.last,
        MonthSummary.taken_at > terms.now - _fresh_for(Month.of(days.first), current),
    )
    found: dict[str, Any] | None = db.session.scalar(query)
    return found


def _fresh_for(month: Month, current: Month) -> timedelta:
    """Return how old kept figures may be: the longer a month is over, the less comes late."""
    if month >= current:
        return FRESH_FOR
    return timedelta(minutes=20) if month == current.previous else timedelta(hours=12)
