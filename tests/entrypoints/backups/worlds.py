"""Take and restore backups, and look at every row of a database."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from apiflask import APIFlask
from sqlalchemy import inspect, select, text

from billtrack.core.periods import DateRange
from billtrack.documents.reports.models import Report
from billtrack.documents.reports.operations import request_report
from billtrack.entrypoints.backups.archive import ArchiveWriter, open_backup
from billtrack.entrypoints.backups.manifest import Manifest
from billtrack.entrypoints.backups.restoring import Restored, restore_backup
from billtrack.entrypoints.backups.taking import take_backup
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_settings, db, metadata
from billtrack.platform.jobs.models import Job
from billtrack.platform.storage.storage import Storage
from tests.cast import SYSTEM, Cast


class Take:
    """Takes backups of an app's installation into a folder beside it."""

    def __init__(self, app: APIFlask, folder: Path) -> None:
        self.app = app
        self.folder = folder / "backups"
        self.folder.mkdir()

    def __call__(self, name: str = "b.tar") -> Path:
        path, _ = take_backup(
            self.folder / name,
            data_dir=current_settings().data_dir,
            storage=storage_of(self.app),
            now=datetime.now(UTC),
        )
        return path


def storage_of(app: APIFlask) -> Storage:
    storage: Storage = app.extensions["billtrack.storage"]
    return storage


def restore(source: Path, app: APIFlask) -> Restored:
    db.session.rollback()  # of the app around us: it may be the same
    with app.app_context():
        try:
            settings = current_settings()
            return restore_backup(source, settings=settings, storage=storage_of(app))
        finally:
            db.session.remove()
            db.engine.dispose()


def create_document(app: APIFlask, cast: Cast, content: bytes) -> str:
    """Create a completed report about the customer, and return the path of its file."""
    now = datetime.now(UTC)
    days = DateRange(now.date(), now.date())
    with transaction():
        report = request_report(cast.customer.user, days, file_format="pdf", actor=SYSTEM, now=now)
    stored = storage_of(app).put(f"{report.job_id}/1/user-1.pdf", content)
    with transaction() as session:
        row = session.get_one(Report, report.id)
        row.path, row.size, row.sha256 = stored.path, stored.size, stored.sha256
        session.get_one(Job, report.job_id).status = "completed"
    return stored.path


def every_row(app: APIFlask) -> Mapping[str, Sequence[tuple[Any, ...]]]:
    """Return all rows of all tables, as Python sees them, in an order of their own."""
    with app.app_context(), db.engine.connect() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def assert_is_empty(app: APIFlask) -> None:
    """Nothing of a restoration is left: no table, no document, no unfinished file."""
    with app.app_context():
        folder = current_settings().data_dir
        if db.engine.dialect.name == "postgresql":
            assert inspect(db.engine).get_table_names() == []
        else:
            assert not (folder / "billtrack.db").exists()
        db.engine.dispose()
    left = {path.name for path in folder.rglob("*") if path.is_file()}
    assert left <= {"init.lock", "queue.db", "queue.db-shm", "queue.db-wal"}


def set_revision(revision: str) -> None:
    with transaction() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


def rewrite(source: Path, target: Path, **changes: Any) -> None:
    """Write the backup anew, well sealed, with another manifest."""
    with open_backup(source) as backup, target.open("w+b") as file:
        archive = ArchiveWriter(file, taken_at=datetime.now(UTC))
        for entry in backup.manifest.files:
            whole = source.parent / hashlib.sha256(entry.path.encode()).hexdigest()
            whole.write_bytes(backup.open(entry.path).read())
            with whole.open("rb") as content:
                archive.add(entry.path, content)
            whole.unlink()
        values = backup.manifest.model_dump() | changes
        archive.seal(Manifest.model_validate(values))
