"""Keep the CloudEvents source of records that have one.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("usage_records", sa.Column("origin", sa.String(255), nullable=True))


def downgrade() -> None:
    op.drop_column("usage_records", "origin")
