"""Read reports with their jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, or_, select, true

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.core.errors import NotFoundError
from billtrack.core.periods import DateRange, Month
from billtrack.documents.reports.models import Report
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.operations import GROUP


class ReportNotFound(NotFoundError):
    """There is no such report, or it is not theirs."""

    code = "report_not_found"

    def __init__(self, job_id: int) -> None:
        super().__init__(f"There is no report of job {job_id} that you can see.")


@dataclass(frozen=True, slots=True)
class ReportView:
    """A job with its report and whom it is about; both are None for a parent job."""

    job: Job
    report: Report | None
    user: User | None

    @property
    def filename(self) -> str | None:
        """Return the name that the file is downloaded under."""
        if self.report is None:
            return None
        return filename_of(self.report)

    @property
    def days(self) -> DateRange | None:
        """Return the inclusive billing days of the report."""
        return DateRange(self.report.first_on, self.report.last_on) if self.report else None


def filename_of(report: Report) -> str:
    """Return `user-1-2026-10.pdf`, or with both days when it is not a whole month."""
    days = DateRange(report.first_on, report.last_on)
    month = Month.of(days.first)
    label = str(month) if month.dates == days else f"{days.first}_{days.last}"
    return f"user-{report.user_id}-{label}.{report.format}"


def get_report(job_id: int, *, reach: Reach) -> ReportView:
    """Return the report of a job, or a parent job; raises ReportNotFound outside the reach."""
    row = db.session.execute(
        _reports().where(Job.id == job_id, _within(reach)).execution_options(populate_existing=True)
    ).one_or_none()
    if row is None:
        raise ReportNotFound(job_id)
    return ReportView(*row)


def list_reports(
    *,
    reach: Reach,
    user_id: int | None = None,
    before_id: int | None = None,
    limit: int = 50,
) -> Sequence[ReportView]:
    """Return up to `limit` reports and parent jobs below job id `before_id`, newest first."""
    query = _reports().where(_within(reach)).order_by(Job.id.desc()).limit(limit)
    if user_id is not None:
        query = query.where(Report.user_id == user_id)
    if before_id is not None:
        query = query.where(Job.id < before_id)
    return [ReportView(*row) for row in db.session.execute(query)]


def _reports() -> Select[Job, Report, User]:
    return (
        select(Job, Report, User)
        .outerjoin(Report, Report.job_id == Job.id)
        .outerjoin(User, User.id == Report.user_id)
        .where(or_(Report.id.is_not(None), Job.kind == GROUP))
    )


def _within(reach: Reach) -> ColumnElement[bool]:
    if reach.breadth is Breadth.ALL:
        return true()
    # A customer sees what is about itself, whoever asked for it.
    return Report.user_id == reach.user_id
