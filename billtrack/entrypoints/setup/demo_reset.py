"""Reset of a demo installation: drop all tables, so that the next start makes them new.

An installation that holds any real account is never reset.
"""

from __future__ import annotations

from sqlalchemy import Connection, inspect, not_, select, text

from billtrack.accounts.users.models import User
from billtrack.core.errors import ConflictError
from billtrack.platform.db import end_read, transaction
from billtrack.platform.extensions import db, metadata
from billtrack.platform.jobs.models import Job
from billtrack.platform.storage.storage import Storage

_VERSION_TABLE = "alembic_version"

# Trigger functions outlive their tables.
_OUR_FUNCTIONS = text(
    "SELECT oid::regprocedure::text FROM pg_proc "
    "WHERE pronamespace = current_schema()::regnamespace AND proname LIKE 'billtrack\\_%'"
)


class DemoInUse(ConflictError):
    """The installation holds an account that is not of the demo, or a job is running."""

    code = "demo_in_use"


def drop_demo(storage: Storage) -> None:
    """Delete all files and drop all tables of an installation that holds only the demo.

    Owns its transaction. Raises DemoInUse, and deletes nothing, if an account is not of the demo
    or a job is running.
    """
    _require_only_demo()
    end_read()
    # Files go first: after a crash in between, the accounts still show that this is a demo.
    for folder in sorted({path.partition("/")[0] for path in storage.list_paths()}):
        storage.remove(folder)
    with transaction():
        connection = db.session.connection()
        if connection.dialect.name == "postgresql":
            # Keeps others from creating an account between the check and the drop.
            connection.execute(text("LOCK TABLE users IN ACCESS EXCLUSIVE MODE"))
        _require_only_demo()
        _drop_all(connection)
    # New accounts get the ids of the old ones.
    db.session.expunge_all()


def _require_only_demo() -> None:
    real = select(User.email).where(not_(User.is_demo)).order_by(User.id).limit(1)
    if (address := db.session.scalar(real)) is not None:
        raise DemoInUse(
            f"Nothing is removed: the account {address} is not of the demo. "
            "A reset would delete its data."
        )
    running = select(Job.id).where(Job.status == "running", Job.worker_id.is_not(None)).limit(1)
    if (job_id := db.session.scalar(running)) is not None:
        raise DemoInUse(f"Nothing is removed: job {job_id} is running. Try again in a moment.")


def _drop_all(connection: Connection) -> None:
    is_postgresql = connection.dialect.name == "postgresql"
    metadata.drop_all(connection)
    if inspect(connection).has_table(_VERSION_TABLE):
        connection.execute(text(f"DROP TABLE {_VERSION_TABLE}"))
    for function in connection.scalars(_OUR_FUNCTIONS).all() if is_postgresql else ():
        connection.execute(text(f"DROP FUNCTION {function}"))
