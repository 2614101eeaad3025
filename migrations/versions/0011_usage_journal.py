"""Add sources of usage and what they sent by hour, counted from the records that are there.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
COUNTED = ("accepted", "late", "duplicate", "conflict", "rejected", "reversed")

HOUR = {
    "postgresql": "date_trunc('hour', created_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'",
    "sqlite": "substr(created_at, 1, 13) || ':00:00.000000'",
}
RECENT = {
    "postgresql": "created_at > now() - interval '90 days'",
    "sqlite": "created_at > datetime('now', '-90 days')",
}
RECORDS = sa.table(
    "usage_records", *map(sa.column, ("recorded_by_id", "created_at", "reverses_id"))
)
SOURCES = sa.table(
    "usage_sources", *map(sa.column, ("account_id", "first_seen_at", "last_seen_at"))
)
BY_HOUR = sa.table("usage_source_hours", *map(sa.column, ("account_id", "starts_at", *COUNTED)))


def upgrade() -> None:
    op.create_table(
        "usage_sources",
        sa.Column("account_id", ID, autoincrement=False, nullable=False),
        sa.Column("first_seen_at", INSTANT, nullable=False),
        sa.Column("last_seen_at", INSTANT, nullable=False),
        sa.Column("silent_since_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["users.id"], name="fk_usage_sources_account_id"),
        sa.PrimaryKeyConstraint("account_id", name="pk_usage_sources"),
    )
    op.create_table(
        "usage_source_hours",
        sa.Column("account_id", ID, autoincrement=False, nullable=False),
        sa.Column("starts_at", INSTANT, nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTED),
        sa.ForeignKeyConstraint(
            ["account_id"], ["users.id"], name="fk_usage_source_hours_account_id"
        ),
        sa.PrimaryKeyConstraint("account_id", "starts_at", name="pk_usage_source_hours"),
    )
    op.create_index("ix_usage_source_hours_starts_at", "usage_source_hours", ["starts_at"])
    _count_records()


def downgrade() -> None:
    op.drop_table("usage_source_hours")
    op.drop_table("usage_sources")


def _count_records() -> None:
    """Know the sources that recorded before: one reading of all records."""
    dialect = op.get_bind().dialect.name
    account, at = RECORDS.c.recorded_by_id, RECORDS.c.created_at
    sent = RECORDS.c.reverses_id.is_(None)
    spans = sa.select(account, sa.func.min(at), sa.func.max(at)).where(sent).group_by(account)
    op.execute(SOURCES.insert().from_select(["account_id", "first_seen_at", "last_seen_at"], spans))
    hour, none = sa.literal_column(HOUR[dialect]), [sa.literal_column("0")] * 5
    by_hour = (
        sa.select(account, hour, sa.func.count(), *none)
        .select_from(RECORDS)
        .where(sent, sa.text(RECENT[dialect]))
        .group_by(account, hour)
    )
    op.execute(BY_HOUR.insert().from_select(["account_id", "starts_at", *COUNTED], by_hour))
