"""Read what this installation runs on: its database, the state of its tables, its workers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import current_app
from sqlalchemy import select, text

from billtrack.platform.extensions import db
from billtrack.platform.installation.models import WorkerHeartbeat
from billtrack.platform.installation.queries import SILENT_AFTER


@dataclass(frozen=True, slots=True)
class DatabaseState:
    """Which database answers, how many bytes it takes, and the migrations it has and needs."""

    product: str
    version: str
    size: int
    revision: str | None
    head: str

    @property
    def is_current(self) -> bool:
        """Whether every migration has run."""
        return self.revision == self.head


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker process that was seen within a day; it is alive if within 45 seconds."""

    worker_id: str
    started_at: datetime
    seen_at: datetime
    is_alive: bool


def get_database_state() -> DatabaseState:
    """Return what the database says about itself."""
    connection = db.session.connection()
    major, minor, *rest = connection.dialect.server_version_info or (0, 0)
    is_postgresql = connection.dialect.name == "postgresql"
    size = "SELECT pg_database_size(current_database())"
    if not is_postgresql:
        size = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
    return DatabaseState(
        product="PostgreSQL" if is_postgresql else "SQLite",
        version=".".join(str(part) for part in (major, minor, *rest)),
        size=int(connection.scalar(text(size)) or 0),
        revision=MigrationContext.configure(connection).get_current_revision(),
        head=_newest_migration(),
    )


def is_migrated() -> bool:
    """Tell whether every migration has run that this program knows.

    A database that a newer program has migrated further is taken for one that has them all:
    else an upgrade would put every older process out of service before the first newer one.
    """
    connection = db.session.connection()
    current = MigrationContext.configure(connection).get_current_revision()
    known = _known_migrations(current_app.extensions["migrate"].directory)
    return current is not None and (current == known[0] or current not in known)


def list_workers(*, now: datetime) -> Sequence[WorkerState]:
    """Return the worker processes that were seen within a day, the one seen last first."""
    query = select(WorkerHeartbeat).order_by(WorkerHeartbeat.seen_at.desc())
    return [
        WorkerState(row.worker_id, row.started_at, row.seen_at, row.seen_at > now - SILENT_AFTER)
        for row in db.session.scalars(query)
    ]


def knows_migration(revision: str) -> bool:
    """Tell whether this program has the migration that leads to this revision."""
    return revision in _known_migrations(current_app.extensions["migrate"].directory)


def _newest_migration() -> str:
    return _known_migrations(current_app.extensions["migrate"].directory)[0]


@cache
def _known_migrations(folder: str) -> Sequence[str]:
    """Return the migrations that come with this program, the newest first."""
    return [script.revision for script in ScriptDirectory(folder).walk_revisions()]
