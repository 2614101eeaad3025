"""Run migrations online, on the engine of the running app, one process at a time."""

from __future__ import annotations

from alembic import context
from sqlalchemy import text

from billtrack.engines import POSTGRESQL_WRITES
from billtrack.extensions import db

LOCK = 6_009_000_001


def run_migrations() -> None:
    with db.engine.connect() as connection:
        is_postgresql = connection.dialect.name == "postgresql"
        if is_postgresql:
            connection.execution_options(**POSTGRESQL_WRITES)
        else:
            # SQLite rebuilds tables to alter them, which foreign keys would refuse half-way.
            # The driver takes it outside of any transaction, the only place where it counts.
            connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
        context.configure(
            connection=connection,
            target_metadata=db.metadata,
            render_as_batch=True,
            compare_type=True,
            transaction_per_migration=False,
        )
        with context.begin_transaction():
            if is_postgresql:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            context.run_migrations()
        if not is_postgresql:
            connection.connection.cursor().execute("PRAGMA foreign_keys=ON")


run_migrations()
