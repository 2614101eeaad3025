"""Keep what a month came to, for pages over all customers.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "month_summaries",
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("covers_through", sa.Date(), nullable=False),
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("overview", JSON, nullable=False),
        sa.Column("customers", JSON, nullable=False),
        sa.CheckConstraint("covers_through >= month", name=op.f("ck_month_summaries_days")),
        sa.PrimaryKeyConstraint("month", name="pk_month_summaries"),
    )


def downgrade() -> None:
    op.drop_table("month_summaries")
