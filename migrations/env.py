"""Run migrations online, on the engine of the running app, one process at a time."""

from __future__ import annotations

from typing import Any

from alembic import context
from sqlalchemy import text

from billtrack.platform.engines import POSTGRESQL_WRITES
from billtrack.platform.extensions import db
from billtrack.usage.records.models import KEY_PARTITIONS

LOCK = 6_009_000_001


def _is_ours(name: str | None, kind: str, _parents: Any) -> bool:
    # Partitions belong to their table, which the models name.
    return kind != "table" or name not in KEY_PARTITIONS


def _is_here(item: Any, *_description: Any) -> bool:
    # Alembic does not ask whether the models want something on this database.
    wanted = getattr(item, "_ddl_if", None)
    return wanted is None or wanted.dialect == db.engine.dialect.name


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
            include_name=_is_ours,
            include_object=_is_here,
            transaction_per_migration=False,
        )
        with context.begin_transaction():
            if is_postgresql:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": LOCK})
            context.run_migrations()
        if not is_postgresql:
            connection.connection.cursor().execute("PRAGMA foreign_keys=ON")


run_migrations()
