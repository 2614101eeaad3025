"""Migrations and models say the same, on both databases, there and back."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from apiflask import APIFlask
from flask_migrate import downgrade, upgrade
from sqlalchemy import CheckConstraint, Float, Numeric, inspect

from billtrack.platform.extensions import db, metadata
from billtrack.usage.records.models import KEY_PARTITIONS

BOOKKEEPING = {"alembic_version"}


def test_the_history_is_one_line(app: APIFlask) -> None:
    scripts = ScriptDirectory(app.extensions["migrate"].directory)
    assert len(scripts.get_heads()) == len(scripts.get_bases()) == 1
    revisions = list(scripts.walk_revisions())
    assert all(not revision.is_merge_point for revision in revisions)
    assert all(not revision.is_branch_point for revision in revisions)
    numbers = [revision.revision for revision in reversed(revisions)]
    assert [number[:4] for number in numbers] == [f"{n:04d}" for n in range(1, len(numbers) + 1)]


def test_they_go_there_and_back_and_make_what_the_models_say(app: APIFlask) -> None:
    assert differences() == []
    downgrade(revision="base")
    assert set(inspect(db.engine).get_table_names()) <= BOOKKEEPING
    upgrade()
    partitions = KEY_PARTITIONS if db.engine.dialect.name == "postgresql" else ()
    tables = {*metadata.tables, *BOOKKEEPING, *partitions}
    assert set(inspect(db.engine).get_table_names()) == tables
    assert differences() == []
    upgrade()


def test_constraints_and_indexes_are_those_of_the_models(app: APIFlask) -> None:
    inspector = inspect(db.engine)
    for table in metadata.sorted_tables:
        checks = sorted(str(c.name) for c in table.constraints if isinstance(c, CheckConstraint))
        named = {str(one.name) for one in table.constraints if is_here(one)} - {*checks}
        named |= {str(index.name) for index in table.indexes if is_here(index)}
        live = [inspector.get_pk_constraint(table.name)["name"]]
        live += [entry["name"] for entry in inspector.get_foreign_keys(table.name)]
        live += [entry["name"] for entry in inspector.get_unique_constraints(table.name)]
        live += [entry["name"] for entry in inspector.get_indexes(table.name)]
        assert named == {str(name) for name in live}, table.name
        live_checks = sorted(c["name"] or "" for c in inspector.get_check_constraints(table.name))
        # The first migration gave checks the prefix of the naming convention twice.
        assert len(live_checks) == len(checks), table.name
        assert all(live.endswith(name) for live, name in zip(live_checks, checks, strict=True))


def test_no_live_column_holds_floats(app: APIFlask) -> None:
    for table in inspect(db.engine).get_table_names():
        for column in inspect(db.engine).get_columns(table):
            kind = column["type"]
            is_float = isinstance(kind, Float) or (isinstance(kind, Numeric) and not kind.asdecimal)
            assert not is_float, f"{table}.{column['name']}"


def differences() -> list[object]:
    options = {
        "compare_type": True,
        "include_name": lambda name, kind, _: kind != "table" or name not in KEY_PARTITIONS,
        "include_object": lambda item, *_: is_here(item),
    }
    with db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        found: list[object] = compare_metadata(context, metadata)
        return found


def is_here(item: Any) -> bool:
    """Tell whether the model wants this on this database, which Alembic does not ask."""
    wanted = getattr(item, "_ddl_if", None)
    return wanted is None or wanted.dialect == db.engine.dialect.name
