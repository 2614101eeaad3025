"""Chain the audit entries, those that are there included, and refuse to change them.

Both tables are made anew: SQLite cannot take a foreign key away otherwise. How an entry is
hashed is written here once more, for what billtrack does later must not change this.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import hashlib
import json
import secrets
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
AT_ONCE = 500
KEPT = ("id", "at", "actor_user_id", "actor_api_key_id", "request_id", "action")
KEPT = (*KEPT, "object_type", "object_id", "changes")

POSTGRESQL_GUARDS = """
CREATE FUNCTION billtrack_audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit log is append-only';
END $$;
CREATE TRIGGER audit_entries_guard BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION billtrack_audit_is_append_only();
CREATE TRIGGER audit_head_guard BEFORE DELETE ON audit_head
    FOR EACH ROW EXECUTE FUNCTION billtrack_audit_is_append_only();
CREATE TRIGGER audit_personal_values_guard BEFORE DELETE ON audit_personal_values
    FOR EACH ROW EXECUTE FUNCTION billtrack_audit_is_append_only();
CREATE TRIGGER audit_personal_values_erase_only BEFORE UPDATE ON audit_personal_values
    FOR EACH ROW WHEN (
        NEW.before IS NOT NULL OR NEW.value IS NOT NULL OR NEW.salt IS NOT NULL
        OR (NEW.entry_id, NEW.field, NEW.user_id, NEW.digest)
            IS DISTINCT FROM (OLD.entry_id, OLD.field, OLD.user_id, OLD.digest)
    ) EXECUTE FUNCTION billtrack_audit_is_append_only();
"""

REFUSE = "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
ERASES_ONLY = """NEW.before IS NOT NULL OR NEW.value IS NOT NULL OR NEW.salt IS NOT NULL
    OR NEW.entry_id IS NOT OLD.entry_id OR NEW.field IS NOT OLD.field
    OR NEW.user_id IS NOT OLD.user_id OR NEW.digest IS NOT OLD.digest"""
SQLITE_GUARDS = (
    f"CREATE TRIGGER audit_entries_no_update BEFORE UPDATE ON audit_entries {REFUSE}",
    f"CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries {REFUSE}",
    f"CREATE TRIGGER audit_head_no_delete BEFORE DELETE ON audit_head {REFUSE}",
    f"CREATE TRIGGER audit_values_no_delete BEFORE DELETE ON audit_personal_values {REFUSE}",
    f"""CREATE TRIGGER audit_values_erase_only BEFORE UPDATE ON audit_personal_values
    WHEN {ERASES_ONLY} {REFUSE}""",
)


def upgrade() -> None:
    _move_away()
    entries, values, head = _create_tables()
    _chain(entries, values, head)
    op.drop_table("audit_values_before")
    op.drop_table("audit_entries_before")
    for index, table, columns in (
        ("ix_audit_entries_object_type_object_id", "audit_entries", ["object_type", "object_id"]),
        ("ix_audit_entries_actor_user_id", "audit_entries", ["actor_user_id"]),
        ("ix_audit_entries_at", "audit_entries", ["at"]),
        ("ix_audit_personal_values_user_id", "audit_personal_values", ["user_id"]),
    ):
        op.create_index(index, table, columns)
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    for statement in (POSTGRESQL_GUARDS,) if is_postgresql else SQLITE_GUARDS:
        op.execute(statement)


def downgrade() -> None:
    _move_away()
    op.drop_table("audit_head")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION billtrack_audit_is_append_only()")
    _create_tables_before()
    # Whoever was removed since then is not named any more, as the foreign keys want it.
    op.execute(
        "INSERT INTO audit_entries (id, at, actor_user_id, actor_api_key_id, request_id, action,"
        " object_type, object_id, changes) SELECT id, at,"
        " (SELECT users.id FROM users WHERE users.id = actor_user_id),"
        " (SELECT api_keys.id FROM api_keys WHERE api_keys.id = actor_api_key_id),"
        " request_id, action, object_type, object_id, changes FROM audit_entries_before"
    )
    op.execute(
        "INSERT INTO audit_personal_values (entry_id, field, value) SELECT entry_id, field, value"
        " FROM audit_values_before WHERE value IS NOT NULL"
    )
    op.drop_table("audit_values_before")
    op.drop_table("audit_entries_before")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "SELECT setval(pg_get_serial_sequence('audit_entries', 'id'),"
            " coalesce(max(id), 1), max(id) IS NOT NULL) FROM audit_entries"
        )


def _move_away() -> None:
    """Copy both tables and drop them, with their indexes and triggers."""
    op.execute("CREATE TABLE audit_entries_before AS SELECT * FROM audit_entries")
    op.execute("CREATE TABLE audit_values_before AS SELECT * FROM audit_personal_values")
    op.create_index("ix_audit_entries_before", "audit_entries_before", ["id"])
    op.create_index("ix_audit_values_before", "audit_values_before", ["entry_id"])
    op.drop_table("audit_personal_values")
    op.drop_table("audit_entries")


def _create_tables() -> tuple[sa.Table, sa.Table, sa.Table]:
    entries = op.create_table(
        "audit_entries",
        sa.Column("id", ID, autoincrement=False, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("actor_user_id", sa.BigInteger(), nullable=True),
        sa.Column("actor_api_key_id", sa.BigInteger(), nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("object_type", sa.String(length=32), nullable=False),
        sa.Column("object_id", sa.BigInteger(), nullable=True),
        sa.Column("changes", JSON, nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entries"),
    )
    values = op.create_table(
        "audit_personal_values",
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("field", sa.String(length=64), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("salt", sa.LargeBinary(length=16), nullable=True),
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["audit_entries.id"], name="fk_audit_personal_values_entry_id"
        ),
        sa.PrimaryKeyConstraint("entry_id", "field", name="pk_audit_personal_values"),
    )
    head = op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("last_id", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=32), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_audit_head_single_row")),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    return entries, values, head


def _create_tables_before() -> None:
    op.create_table(
        "audit_entries",
        sa.Column("id", ID, nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("actor_user_id", ID, nullable=True),
        sa.Column("actor_api_key_id", ID, nullable=True),
        sa.Column("request_id", sa.String(length=64), nullable=True),
        sa.Column("action", sa.String(length=64), nullable=False),
        sa.Column("object_type", sa.String(length=32), nullable=False),
        sa.Column("object_id", sa.BigInteger(), nullable=True),
        sa.Column("changes", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["actor_api_key_id"], ["api_keys.id"], name="fk_audit_entries_actor_api_key_id"
        ),
        sa.ForeignKeyConstraint(
            ["actor_user_id"], ["users.id"], name="fk_audit_entries_actor_user_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_audit_entries"),
    )
    op.create_index(
        "ix_audit_entries_object_type_object_id", "audit_entries", ["object_type", "object_id"]
    )
    op.create_table(
        "audit_personal_values",
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("field", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entry_id"], ["audit_entries.id"], name="fk_audit_personal_values_entry_id"
        ),
        sa.PrimaryKeyConstraint("entry_id", "field", name="pk_audit_personal_values"),
    )


def _chain(entries: sa.Table, values: sa.Table, head: sa.Table) -> None:
    """Put the entries that were there into the chain, in the order of their numbers."""
    connection = op.get_bind()
    before = sa.table("audit_entries_before", *(_typed(entries, name) for name in KEPT))
    values_before = sa.table(
        "audit_values_before", *(_typed(values, name) for name in ("entry_id", "field", "value"))
    )
    last_id, count, last_hash = 0, 0, bytes(32)
    while True:
        query = sa.select(before).where(before.c.id > last_id).order_by(before.c.id)
        rows = [dict(row) for row in connection.execute(query.limit(AT_ONCE)).mappings()]
        if not rows:
            break
        span = values_before.c.entry_id.between(rows[0]["id"], rows[-1]["id"])
        own: dict[int, list[dict[str, Any]]] = {}
        for row in connection.execute(sa.select(values_before).where(span)).mappings():
            own.setdefault(row["entry_id"], []).append(dict(row))
        personal: list[dict[str, Any]] = []
        for row in rows:
            people = sorted(own.get(row["id"], []), key=lambda one: str(one["field"]))
            people = [_salted(one, row) for one in people]
            last_hash = row["hash"] = _hash(last_hash, row, people)
            personal += people
        connection.execute(entries.insert(), rows)
        if personal:
            connection.execute(values.insert(), personal)
        last_id, count = rows[-1]["id"], count + len(rows)
    end = {"id": 1, "last_id": last_id, "count": count, "hash": last_hash}
    connection.execute(head.insert().values(**end))


def _typed(table: sa.Table, name: str) -> sa.ColumnClause[Any]:
    return sa.column(name, table.c[name].type)


def _salted(one: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    is_about_user = entry["object_type"] == "user"
    user_id = entry["object_id"] if is_about_user else None
    if one["field"] == "address":
        user_id = entry["actor_user_id"]
    salt = secrets.token_bytes(16)
    digest = hashlib.sha256(salt + _written([None, one["value"]])).digest()
    return {**one, "user_id": user_id, "before": None, "salt": salt, "digest": digest}


def _hash(previous: bytes, entry: dict[str, Any], people: list[dict[str, Any]]) -> bytes:
    at: datetime = entry["at"]
    at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    personal = [[one["field"], one["user_id"], one["digest"].hex()] for one in people]
    said = [at.isoformat() if name == "at" else entry[name] for name in KEPT]
    return hashlib.sha256(previous + _written([*said, personal])).digest()


def _written(what: Any) -> bytes:
    return json.dumps(what, sort_keys=True, separators=(",", ":")).encode()
