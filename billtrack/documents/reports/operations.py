"""Ask for reports. The caller owns the transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from billtrack.accounts.users.models import User
from billtrack.core.errors import InvalidError
from billtrack.core.periods import DateRange
from billtrack.documents.reports.models import Report
from billtrack.platform import audit
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.operations import GROUP, enqueue

USAGE_REPORT = "usage_report"
FORMATS = ("pdf", "csv", "xlsx", "json")


class NobodyToReport(InvalidError):
    """A group of reports about nobody would never come to an end."""

    code = "nobody_to_report"


def request_report(
    user: User,
    days: DateRange,
    *,
    file_format: str,
    actor: audit.Actor,
    now: datetime,
    parent_id: int | None = None,
) -> Report:
    """Queue a report about the user over inclusive billing days; a worker makes the file."""
    job = enqueue(USAGE_REPORT, actor=actor, now=now, payload={}, parent_id=parent_id)
    report = Report(
        job_id=job.id,
        user_id=user.id,
        first_on=days.first,
        last_on=days.last,
        format=file_format,
        requested_at=now,
    )
    db.session.add(report)
    db.session.flush()
    return report


def request_reports(
    users: Sequence[User],
    days: DateRange,
    *,
    file_format: str,
    actor: audit.Actor,
    now: datetime,
) -> tuple[Job, list[Report]]:
    """Queue one report a user and a parent job that shows how many are done.

    Raises NobodyToReport without users.
    """
    if not users:
        raise NobodyToReport.at("user_ids", "There is no active customer to report on.")
    payload = {"first": str(days.first), "last": str(days.last), "format": file_format}
    parent = enqueue(GROUP, actor=actor, now=now, payload=payload)
    reports = [
        request_report(
            user, days, file_format=file_format, actor=actor, now=now, parent_id=parent.id
        )
        for user in users
    ]
    return parent, reports
