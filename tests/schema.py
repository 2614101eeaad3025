"""The schema of a database: its tables, indexes, constraints, triggers and functions."""

from __future__ import annotations

import re

from apiflask import APIFlask
from sqlalchemy import text

from billtrack.platform.extensions import db

SCHEMA = {
    "sqlite": "SELECT type || ' ' || name || ' ' || coalesce(sql, '') FROM sqlite_master",
    "postgresql": """
        SELECT conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable,
            column_default)
        FROM information_schema.columns WHERE table_schema = 'public'
    """,
}


def schema_of(app: APIFlask) -> set[str]:
    with app.app_context():
        dialect = db.engine.dialect.name
        found = db.session.scalars(text(SCHEMA[dialect])).all()
        db.session.remove()
    return {normal(one) for one in found}


def normal(definition: str) -> str:
    """Return what a definition says, in whichever order and with whichever parentheses and casts.

    PostgreSQL writes more of them once a dump was read; Alembic makes the tables of SQLite again
    with their constraints in any order.
    """
    plain = re.sub(r"::(character varying|text)\b|[()\[\],\s]+", " ", definition)
    return " ".join(sorted(plain.split()))
