"""Keep the files of reports for a set time; the report stays, and can be made again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from threading import Event

import structlog
from apiflask import APIFlask
from sqlalchemy import Row, select, update
from sqlalchemy.exc import SQLAlchemyError

from billtrack.core.errors import UnavailableError
from billtrack.documents.reports.models import Report
from billtrack.platform.config import Settings
from billtrack.platform.db import end_read, transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.platform.storage.storage import DocumentGone, Storage
from billtrack.usage.imports.retention import forget_old_imports

log = structlog.get_logger(__name__)

SWEEP_EVERY = 600.0
BATCH = 100


def keep_removing_old_files(app: APIFlask, settings: Settings, stopping: Event) -> None:
    """Remove old files of reports and imports every ten minutes until told to stop.

    Wants a thread of its own: an object store may let it wait for longer than a lease lasts.
    """
    while not stopping.is_set():
        try:
            with app.app_context():
                storage: Storage = app.extensions["billtrack.storage"]
                now = datetime.now(UTC)
                remove_old_files(storage, now=now, days=settings.report_days)
                forget_old_imports(storage, now=now)
        except SQLAlchemyError as error:
            log.warning("database_unavailable", error=str(error))
        except Exception:
            # Without this thread files would be kept for ever, and nobody would see why.
            log.exception("retention_stumbled")
        stopping.wait(SWEEP_EVERY)


def remove_old_files(storage: Storage, *, now: datetime, days: int) -> int:
    """Remove the files of reports that were finished more than `days` ago; return how many.

    Owns its transactions. Safe to run twice and in several workers at once. A file that cannot
    be removed stays with its report, and is tried again by the next sweep.
    """
    before, last_id, removed = now - timedelta(days=days), 0, 0
    while reports := _old_reports(before, last_id):
        for report in reports:
            removed += _remove(storage, report.id, report.job_id, report.path)
        last_id = reports[-1].id
    return removed


def _old_reports(before: datetime, last_id: int) -> Sequence[Row[int, int, str | None]]:
    query = (
        select(Report.id, Report.job_id, Report.path)
        .join(Job, Job.id == Report.job_id)
        .where(
            Report.id > last_id,
            Report.path.is_not(None),
            Job.status == "completed",
            Job.finished_at < before,
        )
    )
    found = db.session.execute(query.order_by(Report.id).limit(BATCH)).all()
    end_read()
    return found


def _remove(storage: Storage, report_id: int, job_id: int, path: str) -> bool:
    # The file goes first: after a crash in between, the row still says what is to go.
    try:
        storage.remove(str(job_id))
        if _is_there(storage, path):
            log.warning("report_file_stays", job_id=job_id)
            return False
    except (UnavailableError, OSError) as error:
        log.warning("report_file_stays", job_id=job_id, error=str(error))
        return False
    with transaction():
        db.session.execute(
            update(Report).where(Report.id == report_id, Report.path == path).values(path=None)
        )
    return True


def _is_there(storage: Storage, path: str) -> bool:
    try:
        storage.open(path).close()
    except DocumentGone:
        return False
    return True
