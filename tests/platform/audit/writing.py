"""Entries as billtrack writes them, and what somebody with the database makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, text

from billtrack.platform import audit
from billtrack.platform.db import transaction
from billtrack.platform.engines import POSTGRESQL_WRITES
from billtrack.platform.extensions import db

NOW = datetime(2026, 10, 5, 14, 30, 15, 123456, tzinfo=UTC)
GUARDS = {"audit_entries", "audit_head", "audit_personal_values"}


def note(action: str = "thing.changed", number: int = 1, person: int = 7) -> None:
    """Record an entry with facts, a changed field and personal values."""
    audit.record(
        action,
        actor=audit.Actor(user_id=person, address="192.0.2.7"),
        now=NOW,
        object_type="thing",
        object_id=number,
        changes={"number": number, "state": audit.Change("off", "on"), "ümlaut": "ž 💡"},
        personal={"name": audit.PersonalChange("Ada", "Grace")},
        subject_id=person,
    )


def note_alone(number: int) -> None:
    with transaction():
        note(number=number)


@contextmanager
def writing() -> Iterator[Connection]:
    """Give a connection that writes past all that billtrack does about it."""
    options = POSTGRESQL_WRITES if db.engine.dialect.name == "postgresql" else {}
    with db.engine.connect().execution_options(**options) as connection, connection.begin():
        yield connection


def disable_guards() -> None:
    """Do what whoever owns the database can do: away with the triggers."""
    with writing() as connection:
        if connection.dialect.name == "postgresql":
            for table in GUARDS:
                connection.execute(text(f"ALTER TABLE {table} DISABLE TRIGGER ALL"))
            return
        triggers = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'audit%'"
        for (name,) in connection.exec_driver_sql(triggers).all():
            connection.exec_driver_sql(f"DROP TRIGGER {name}")


def tamper(*statements: str, **values: Any) -> None:
    db.session.rollback()
    disable_guards()
    with writing() as connection:
        for statement in statements:
            connection.execute(text(statement), values)


def remove(entry_id: int) -> None:
    tamper(
        "DELETE FROM audit_personal_values WHERE entry_id = :id",
        "DELETE FROM audit_entries WHERE id = :id",
        id=entry_id,
    )


def exchange(one: int, other: int) -> None:
    tables = (("audit_entries", "id"), ("audit_personal_values", "entry_id"))
    disable_guards()
    with writing() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        for of, to in ((one, 10**6), (other, one), (10**6, other)):
            for table, column in tables:
                swap = f"UPDATE {table} SET {column} = {to} WHERE {column} = {of}"
                connection.exec_driver_sql(swap)


def cut_off(entry_id: int) -> None:
    """Remove this entry and all after it, so that the log itself cannot know."""
    tamper(
        "DELETE FROM audit_personal_values WHERE entry_id >= :id",
        "UPDATE audit_head SET last_id = :id - 1,"
        " count = count - (SELECT count(*) FROM audit_entries WHERE id >= :id),"
        " hash = (SELECT hash FROM audit_entries WHERE id = :id - 1)",
        "DELETE FROM audit_entries WHERE id >= :id",
        id=entry_id,
    )
