"""Compute statements, for one user or for many at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from billtrack.accounts.users.permissions import Reach
from billtrack.accounts.users.queries import UserNotFound, find_user
from billtrack.billing.plans.queries import price_spans
from billtrack.billing.pricing.parts import PricedSpan
from billtrack.billing.pricing.statement import Statement, daily_costs, price_statement
from billtrack.core.periods import BillingCalendar, DateRange, Month
from billtrack.usage.records.meters import list_meters
from billtrack.usage.records.queries import daily_totals

DailyCosts = dict[str, dict[date, int]]
"""meter code → billing day → minor units"""


@dataclass(frozen=True, slots=True)
class UserStatement:
    """A statement of one user, as of the instant it was computed.

    `is_open` tells that the period has not ended: what it says can still change.
    """

    user_id: int
    statement: Statement
    currency: str
    is_open: bool
    generated_at: datetime
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Terms:
    """The billing calendar, the currency where no plan names one, and the present instant."""

    calendar: BillingCalendar
    default_currency: str
    now: datetime


def get_statement(user_id: int, days: DateRange, *, reach: Reach, terms: Terms) -> UserStatement:
    """Return what the inclusive billing days cost the user.

    Raises UserNotFound outside the reach and MixedCurrencies.
    """
    if not reach.covers(user_id) or find_user(user_id) is None:
        raise UserNotFound(user_id)
    return list_statements([user_id], days, terms=terms)[user_id]


def list_statements(
    user_ids: Sequence[int], days: DateRange, *, terms: Terms
) -> dict[int, UserStatement]:
    """Return the statements of many users, whoever asks; a fixed number of queries."""
    given = read_given(user_ids, days)
    return {user_id: given.statement(user_id, terms=terms) for user_id in user_ids}


@dataclass(frozen=True, slots=True)
class Given:
    """What statements over some days are computed from, for many users: prices, usage by day."""

    days: DateRange
    meters: Sequence[str]
    usage: Mapping[int, Mapping[str, Mapping[date, int]]]
    spans: Mapping[int, Sequence[PricedSpan]]

    def statement(self, user_id: int, *, terms: Terms) -> UserStatement:
        """Return what the days cost the user. Raises MixedCurrencies."""
        starts_at, ends_at = terms.calendar.period_of(self.days)
        statement = price_statement(
            period=self.days,
            spans=self.spans[user_id],
            usage=self.usage[user_id],
            meters=self.meters,
        )
        return UserStatement(
            user_id=user_id,
            statement=statement,
            currency=statement.currency or terms.default_currency,
            is_open=terms.now < ends_at,
            generated_at=terms.now,
            starts_at=starts_at,
            ends_at=ends_at,
        )

    def daily_quantities(self, user_id: int) -> dict[str, dict[date, int]]:
        """Return what was used each day, in base units by meter; days of nothing are left out."""
        return {
            meter: {day: used for day, used in by_day.items() if self.days.contains(day)}
            for meter, by_day in self.usage[user_id].items()
        }

    def daily_costs(self, user_id: int) -> DailyCosts:
        """Return what every day cost, by meter and day: the difference rule of statements."""
        return daily_costs(
            period=self.days,
            spans=self.spans[user_id],
            usage=self.usage[user_id],
            meters=self.meters,
        )


def read_given(user_ids: Sequence[int], days: DateRange) -> Given:
    """Read from the first of the month on, for a day's cost depends on the days before it."""
    whole = DateRange(Month.of(days.first).first, Month.of(days.last).last)
    return Given(
        days=days,
        meters=[meter.code for meter in list_meters()],
        usage=daily_totals(user_ids, DateRange(whole.first, days.last)),
        spans=price_spans(user_ids, whole),
    )
