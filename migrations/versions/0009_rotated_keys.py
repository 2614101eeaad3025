"""Let an API key have a successor.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("api_keys") as table:
        table.add_column(sa.Column("rotated_at", INSTANT, nullable=True))
        table.add_column(sa.Column("replaces_id", ID, nullable=True))
        table.create_foreign_key(
            op.f("fk_api_keys_replaces_id"), "api_keys", ["replaces_id"], ["id"]
        )
        table.create_unique_constraint(op.f("uq_api_keys_replaces_id"), ["replaces_id"])


def downgrade() -> None:
    with op.batch_alter_table("api_keys") as table:
        table.drop_constraint(op.f("uq_api_keys_replaces_id"), type_="unique")
        table.drop_constraint(op.f("fk_api_keys_replaces_id"), type_="foreignkey")
        table.drop_column("replaces_id")
        table.drop_column("rotated_at")
