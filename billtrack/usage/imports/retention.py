"""Forget what imports brought: their files and refused lines after a time, never the counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import Row, delete, select, update

from billtrack.platform.db import end_read, transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.platform.storage.storage import Storage
from billtrack.usage.imports.models import RefusedLine, UsageImport
from billtrack.usage.imports.operations import remove_file

KEPT = timedelta(days=30)
BATCH = 100


def forget_old_imports(storage: Storage, *, now: datetime) -> int:
    """Remove files and refused lines of imports that ended more than KEPT ago; return how many.

    Owns its transactions. Safe to run twice and in several workers at once. A file that cannot
    be removed is tried again by the next sweep.
    """
    last_id = forgotten = 0
    while found := _old_imports(now - KEPT, last_id):
        for import_id, path in found:
            # The file goes first: after a crash in between, the row still says what is to go.
            if path is not None and remove_file(storage, path):
                _forget(import_id)
                forgotten += 1
        last_id = found[-1].id
    return forgotten


def _old_imports(before: datetime, last_id: int) -> Sequence[Row[int, str | None]]:
    query = (
        select(UsageImport.id, UsageImport.path)
        .join(Job, Job.id == UsageImport.job_id)
        .where(UsageImport.id > last_id, UsageImport.path.is_not(None), Job.finished_at < before)
    )
    found = db.session.execute(query.order_by(UsageImport.id).limit(BATCH)).all()
    end_read()
    return found


def _forget(import_id: int) -> None:
    with transaction():
        db.session.execute(delete(RefusedLine).where(RefusedLine.import_id == import_id))
        db.session.execute(update(UsageImport).where(UsageImport.id == import_id).values(path=None))
