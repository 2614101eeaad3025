"""Keep records that were refused, to fix them and send them once more.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLE = "usage_rejected_records"


def upgrade() -> None:
    op.create_table(
        TABLE,
        sa.Column("id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("origin", sa.String(length=255), nullable=True),
        sa.Column("key_hash", sa.LargeBinary(length=16), nullable=True),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("item", sa.Text(), nullable=False),
        sa.Column("is_whole", sa.Boolean(), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("errors", sa.Text(), nullable=False),
        sa.Column("first_received_at", INSTANT, nullable=False),
        sa.Column("last_received_at", INSTANT, nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("record_id", sa.BigInteger(), nullable=True),
        sa.Column("replayed_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["users.id"], name="fk_usage_rejected_records_account_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_usage_rejected_records"),
        sa.UniqueConstraint("key_hash", name="uq_usage_rejected_records_key_hash"),
    )
    for columns in (["account_id", "id"], ["last_received_at"], ["user_id"]):
        op.create_index(f"ix_{TABLE}_{'_'.join(columns)}", TABLE, columns)


def downgrade() -> None:
    op.drop_table(TABLE)
