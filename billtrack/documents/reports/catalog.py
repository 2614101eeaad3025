"""What a usage report says, whatever file it is written to.

Every format takes its figures from here, so that they agree to the cent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from billtrack.accounts.users.models import User
from billtrack.billing.plans.queries import plan_on
from billtrack.billing.statements.queries import DailyCosts, Terms, UserStatement, read_given
from billtrack.core.periods import BillingCalendar, DateRange
from billtrack.documents.reports.models import Report
from billtrack.platform.config import Settings
from billtrack.usage.records.meters import list_meters
from billtrack.usage.records.models import Meter


@dataclass(frozen=True, slots=True)
class UsageReport:
    """What one user used in a period and what it costs, as of the instant it was asked for.

    `shown` are the days that had come by then; quantities are base units, costs minor units.
    """

    number: int
    requested_at: datetime
    timezone: str
    customer_id: int
    customer_name: str
    customer_email: str
    plan_name: str | None
    found: UserStatement
    shown: DateRange
    meters: Sequence[Meter]
    quantities: Mapping[str, Mapping[date, int]]
    costs: DailyCosts

    @property
    def currency(self) -> str:
        """Return the currency of every amount."""
        return self.found.currency

    @property
    def period(self) -> DateRange:
        """Return the inclusive billing days that were asked for."""
        return self.found.statement.period

    @property
    def used_meters(self) -> list[Meter]:
        """Return the meters with any usage in the period, in their order."""
        return [m for m in self.meters if any(self.quantities.get(m.code, {}).values())]

    def cost_on(self, day: date) -> int:
        """Return what the usage of this day cost, in minor units."""
        return sum(by_day.get(day, 0) for by_day in self.costs.values())

    def quantity_on(self, meter: Meter, day: date) -> int:
        """Return what was used of the meter on this day, in base units."""
        return self.quantities.get(meter.code, {}).get(day, 0)


def read_usage_report(report: Report, user: User, settings: Settings) -> UsageReport:
    """Return what the report says, read from one snapshot of the database."""
    calendar = BillingCalendar(settings.timezone)
    days = DateRange(report.first_on, report.last_on)
    today = calendar.today(report.requested_at)
    terms = Terms(calendar, settings.currency, report.requested_at)
    plan = plan_on(user.id, min(days.last, today))
    given = read_given([user.id], days)
    return UsageReport(
        number=report.job_id,
        requested_at=report.requested_at,
        timezone=settings.timezone,
        customer_id=user.id,
        customer_name=user.name,
        customer_email=user.email,
        plan_name=plan.name if plan else None,
        found=given.statement(user.id, terms=terms),
        shown=_days_so_far(days, today),
        meters=list_meters(),
        quantities=given.daily_quantities(user.id),
        costs=given.daily_costs(user.id),
    )


def _days_so_far(days: DateRange, today: date) -> DateRange:
    """Cut off the days that had not come when the report was asked for."""
    return days if not days.first <= today < days.last else DateRange(days.first, today)
