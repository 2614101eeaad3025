"""Make the file of a usage report: figures, page or table, storage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import select, update

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.billing.statements.as_json import statement_json
from billtrack.core.money import format_minor
from billtrack.documents.reports.catalog import UsageReport, read_usage_report
from billtrack.documents.reports.models import Report
from billtrack.documents.reports.page import report_page
from billtrack.documents.reports.queries import filename_of, get_report
from billtrack.documents.reports.sheets import flat_sheet, workbook_sheets
from billtrack.platform.config import Settings
from billtrack.platform.extensions import db
from billtrack.platform.jobs.queries import is_held
from billtrack.platform.jobs.runner import Run, TryLater
from billtrack.platform.replica.reading import read_all_stored, return_to_primary
from billtrack.platform.storage.storage import Storage, StoredFile
from billtrack.presentation.pdf.pdf import PdfRenderer
from billtrack.presentation.tables import to_csv, to_xlsx

SOON_MADE_DAYS = 31
"""Up to so many days a report is there before anybody could see how far it is."""


@dataclass(frozen=True, slots=True)
class UsageReportBuilder:
    """Builds usage reports with what a worker has: a renderer and a storage."""

    renderer: PdfRenderer
    storage: Storage
    settings: Settings

    def build(self, run: Run) -> Callable[[], None]:
        """Make and keep the file; return what stores where it lies.

        The file's path holds the attempt, so a worker that wakes late overwrites nothing.
        """
        view = get_report(run.job_id, reach=Reach(Breadth.ALL, 0))
        if view.report is None or view.user is None:
            raise RuntimeError(f"job {run.job_id} has no report")
        erased_at = view.user.erased_at  # now: what is asked later is what is so by then
        read = partial(read_usage_report, view.report, view.user, self.settings)
        report = read_all_stored(read)
        make = self._maker(view.report.format, report)
        path = f"{run.job_id}/{run.attempt}/{filename_of(view.report)}"
        return_to_primary()  # a job is what the primary says of it
        if report.shown.days > SOON_MADE_DAYS:
            run.report_progress(30)
        content = make()
        for earlier in range(1, run.attempt):  # cut short, they may have left a file
            self.storage.remove(f"{run.job_id}/{earlier}")
        stored = self.storage.put(path, content)
        if not is_held(run.job_id, run.attempt):  # nobody would remove what came too late
            self.storage.remove(f"{run.job_id}/{run.attempt}")
        return partial(_store_file, run.job_id, stored, erased_at)

    def _maker(self, file_format: str, report: UsageReport) -> Callable[[], bytes]:
        """Return what makes the file without the database."""
        if file_format == "pdf":
            identifier = f"billtrack-report-{report.number}"
            return partial(self.renderer.render, report_page(report), identifier=identifier)
        if file_format == "csv":
            return partial(to_csv, flat_sheet(report))
        if file_format == "xlsx":
            title = f"Usage report, {report.customer_name}, {report.period}"
            sheets = workbook_sheets(report)
            return partial(to_xlsx, sheets, title=title, created_at=report.requested_at)
        return partial(_to_json, report)


def _to_json(report: UsageReport) -> bytes:
    statement = statement_json(report.found, meters=report.meters, timezone=report.timezone)
    data = {
        "report": report.number,
        "requested_at": report.requested_at,
        "customer": {
            "id": report.customer_id,
            "name": report.customer_name,
            "email": report.customer_email,
            "plan": report.plan_name,
        },
        "statement": statement,
        "days": [_day_json(report, day) for day in report.shown],
    }
    text = json.dumps(data, ensure_ascii=False, indent=1, default=_iso)
    return f"{text}\n".encode()


def _day_json(report: UsageReport, day: date) -> dict[str, Any]:
    return {
        "day": day,
        "usage": {meter.code: report.quantity_on(meter, day) for meter in report.used_meters},
        "amount": format_minor(report.cost_on(day), report.currency),
    }


def _iso(value: date) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat()


def _store_file(job_id: int, file: StoredFile, erased_at: datetime | None) -> None:
    """Note where the file lies; raises TryLater when it says a name that was erased meanwhile."""
    about = select(User.erased_at).join(Report, Report.user_id == User.id)
    # Whoever erases it at this moment waits until the file is noted, and then removes it.
    locked = about.where(Report.job_id == job_id).with_for_update(read=True, of=User)
    if db.session.scalars(locked).one() != erased_at:
        raise TryLater("The account was erased meanwhile.", after=timedelta())
    db.session.execute(
        update(Report)
        .where(Report.job_id == job_id)
        .values(path=file.path, size=file.size, sha256=file.sha256)
    )
