"""Reset of a demo installation: drop all tables, so that the next start makes them new.

An installation that holds any real account is never reset.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, inspect, or_, select, text

from billtrack.accounts.users.models import User
from billtrack.core.errors import ConflictError
from billtrack.core.periods import BillingCalendar, Month
from billtrack.documents.reports.models import Report
from billtrack.entrypoints.setup.demo import demo_emails
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db, metadata
from billtrack.platform.jobs.models import Job
from billtrack.platform.storage.storage import Storage
from billtrack.usage.imports.models import UsageImport

_VERSION_TABLE = "alembic_version"

# Trigger functions outlive their tables.
_OUR_FUNCTIONS = text(
    "SELECT oid::regprocedure::text FROM pg_proc "
    "WHERE pronamespace = current_schema()::regnamespace AND proname LIKE 'billtrack\\_%'"
)


class DemoInUse(ConflictError):
    """The installation holds a real account, or a job is running."""

    code = "demo_in_use"


def drop_demo(settings: Settings, storage: Storage, *, now: datetime) -> None:
    """Delete the files and drop all tables of an installation that holds only the demo.

    Owns its transaction. An account is real if the demo did not create it, or if its address was
    changed since. Raises DemoInUse, and deletes nothing, if an account is real or a job is
    running. If the storage fails, the database stays.
    """
    newest = Month.of(BillingCalendar(settings.timezone).today(now))
    with transaction():
        connection = db.session.connection()
        if connection.dialect.name == "postgresql":
            # Nobody creates an account between the check and the drop. SQLite has one writer.
            connection.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        _require_only_demo(demo_emails(newest))
        for folder in _folders():
            storage.remove(folder)
        _drop_all(connection)
    # New accounts get the ids of the old ones.
    db.session.expunge_all()


def _require_only_demo(addresses: set[str]) -> None:
    is_changed = User.email.not_in(addresses) & User.erased_at.is_(None)
    real = select(User.email).where(or_(User.is_demo.is_(False), is_changed)).order_by(User.id)
    if (address := db.session.scalar(real.limit(1))) is not None:
        raise DemoInUse(
            f"Nothing is removed: the account {address} is not of the demo. "
            "A reset would delete its data."
        )
    running = select(Job.id).where(Job.status == "running", Job.worker_id.is_not(None)).limit(1)
    if (job_id := db.session.scalar(running)) is not None:
        raise DemoInUse(f"Nothing is removed: job {job_id} is running. Try again in a moment.")


def _folders() -> list[str]:
    """Return the folders of reports and imports; others may keep files in the same storage."""
    paths = db.session.scalars(select(UsageImport.path).where(UsageImport.path.is_not(None)))
    imports = [path.partition("/")[0] for path in paths if path]
    return [*(str(job_id) for job_id in db.session.scalars(select(Report.job_id))), *imports]


def _drop_all(connection: Connection) -> None:
    is_postgresql = connection.dialect.name == "postgresql"
    metadata.drop_all(connection)
    if inspect(connection).has_table(_VERSION_TABLE):
        connection.execute(text(f"DROP TABLE {_VERSION_TABLE}"))
    for function in connection.scalars(_OUR_FUNCTIONS).all() if is_postgresql else ():
        connection.execute(text(f"DROP FUNCTION {function}"))
