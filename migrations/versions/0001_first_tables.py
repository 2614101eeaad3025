"""Create the first tables.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True)
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
# SQLite silently rounds NUMERIC, so exact decimals are text there.
DECIMAL = sa.Numeric(38, 12).with_variant(sa.String(40), "sqlite")


def upgrade() -> None:
    op.create_table(
        "command_keys",
        sa.Column("key_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=16), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("body", JSON, nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("key_hash", name="pk_command_keys"),
    )
    op.create_index("ix_command_keys_expires_at", "command_keys", ["expires_at"])

    op.create_table(
        "installation",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("setup_token_hash", sa.String(length=64), nullable=True),
        sa.Column("demo_loaded_at", INSTANT, nullable=True),
        sa.CheckConstraint("id = 1", name=op.f("ck_installation_single_row")),
        sa.PrimaryKeyConstraint("id", name="pk_installation"),
    )
    op.create_table(
        "meters",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("base_unit", sa.String(length=32), nullable=False),
        sa.Column("display_unit", sa.String(length=32), nullable=False),
        sa.Column("display_factor", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("display_factor >= 1", name=op.f("ck_meters_display_factor")),
        sa.PrimaryKeyConstraint("id", name="pk_meters"),
        sa.UniqueConstraint("code", name="uq_meters_code"),
    )
    op.create_table(
        "plans",
        sa.Column("id", ID, nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_plans"),
        sa.UniqueConstraint("code", name="uq_plans_code"),
    )
    op.create_table(
        "usage_keys",
        sa.Column("key_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("record_id", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=16), nullable=False),
        sa.PrimaryKeyConstraint("key_hash", name="pk_usage_keys"),
    )
    op.create_table(
        "users",
        sa.Column("id", ID, nullable=False),
        sa.Column("email", sa.String(length=254), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("password_hash", sa.String(length=200), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("deactivated_at", INSTANT, nullable=True),
        sa.CheckConstraint(
            "role IN ('admin', 'manager', 'provider', 'customer')", name=op.f("ck_users_role")
        ),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("email", name="uq_users_email"),
    )
    op.create_table(
        "worker_heartbeats",
        sa.Column("worker_id", sa.String(length=80), nullable=False),
        sa.Column("started_at", INSTANT, nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("worker_id", name="pk_worker_heartbeats"),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("prefix", sa.String(length=20), nullable=False),
        sa.Column("key_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=True),
        sa.Column("used_at", INSTANT, nullable=True),
        sa.Column("revoked_at", INSTANT, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_api_keys_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("key_hash", name="uq_api_keys_key_hash"),
    )
    op.create_index("ix_api_keys_user_id", "api_keys", ["user_id"])

    op.create_table(
        "jobs",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("requested_by_id", ID, nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("first_attempt", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.String(length=80), nullable=True),
        sa.Column("lease_expires_at", INSTANT, nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("rung_at", INSTANT, nullable=False),
        sa.Column("started_at", INSTANT, nullable=True),
        sa.Column("finished_at", INSTANT, nullable=True),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'completed', 'failed')", name=op.f("ck_jobs_status")
        ),
        sa.CheckConstraint("progress BETWEEN 0 AND 100", name=op.f("ck_jobs_progress")),
        sa.ForeignKeyConstraint(["parent_id"], ["jobs.id"], name="fk_jobs_parent_id"),
        sa.ForeignKeyConstraint(["requested_by_id"], ["users.id"], name="fk_jobs_requested_by_id"),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_parent_id", "jobs", ["parent_id"])
    op.create_index("ix_jobs_requested_by_id", "jobs", ["requested_by_id"])
    op.create_index("ix_jobs_status_lease_expires_at", "jobs", ["status", "lease_expires_at"])

    op.create_table(
        "plan_versions",
        sa.Column("id", ID, nullable=False),
        sa.Column("plan_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("base_fee", DECIMAL, nullable=False),
        sa.Column("minimum_commitment", DECIMAL, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("published_at", INSTANT, nullable=True),
        sa.Column("effective_from", sa.Date(), nullable=True),
        sa.CheckConstraint(
            "(published_at IS NULL) = (effective_from IS NULL)",
            name=op.f("ck_plan_versions_publication"),
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name="fk_plan_versions_plan_id"),
        sa.PrimaryKeyConstraint("id", name="pk_plan_versions"),
        sa.UniqueConstraint("plan_id", "number", name="uq_plan_versions_plan_id_number"),
    )
    op.create_table(
        "sessions",
        sa.Column("id", ID, nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("seen_at", INSTANT, nullable=False),
        sa.Column("expires_at", INSTANT, nullable=False),
        sa.Column("revoked_at", INSTANT, nullable=True),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("user_agent", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.UniqueConstraint("token_hash", name="uq_sessions_token_hash"),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"])

    op.create_table(
        "usage_daily",
        sa.Column("user_id", ID, nullable=False),
        sa.Column("meter_id", sa.Integer(), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "quantity BETWEEN 0 AND 1000000000000000000", name=op.f("ck_usage_daily_quantity")
        ),
        sa.ForeignKeyConstraint(["meter_id"], ["meters.id"], name="fk_usage_daily_meter_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_usage_daily_user_id"),
        sa.PrimaryKeyConstraint("user_id", "meter_id", "day", name="pk_usage_daily"),
    )
    op.create_index("ix_usage_daily_day", "usage_daily", ["day"])

    op.create_table(
        "usage_records",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("meter_id", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("occurred_at", INSTANT, nullable=False),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.Column("recorded_by_id", ID, nullable=False),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("metadata", JSON, nullable=True),
        sa.Column("reverses_id", ID, nullable=True),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.CheckConstraint(
            "quantity <> 0 AND abs(quantity) <= 1000000000000000",
            name=op.f("ck_usage_records_quantity"),
        ),
        sa.ForeignKeyConstraint(["meter_id"], ["meters.id"], name="fk_usage_records_meter_id"),
        sa.ForeignKeyConstraint(
            ["recorded_by_id"], ["users.id"], name="fk_usage_records_recorded_by_id"
        ),
        sa.ForeignKeyConstraint(
            ["reverses_id"], ["usage_records.id"], name="fk_usage_records_reverses_id"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_usage_records_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_usage_records"),
    )
    op.create_index("ix_usage_records_user_id_id", "usage_records", ["user_id", "id"])
    op.create_index(
        "uq_usage_records_reverses_id",
        "usage_records",
        ["reverses_id"],
        unique=True,
        postgresql_where=sa.text("reverses_id IS NOT NULL"),
        sqlite_where=sa.text("reverses_id IS NOT NULL"),
    )

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
        "plan_charges",
        sa.Column("id", ID, nullable=False),
        sa.Column("version_id", ID, nullable=False),
        sa.Column("meter_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("definition", JSON, nullable=False),
        sa.ForeignKeyConstraint(["meter_id"], ["meters.id"], name="fk_plan_charges_meter_id"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["plan_versions.id"], name="fk_plan_charges_version_id"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_plan_charges"),
        sa.UniqueConstraint("version_id", "meter_id", name="uq_plan_charges_version_id_meter_id"),
    )
    op.create_table(
        "reports",
        sa.Column("id", ID, nullable=False),
        sa.Column("job_id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("first_on", sa.Date(), nullable=False),
        sa.Column("last_on", sa.Date(), nullable=False),
        sa.Column("format", sa.String(length=8), nullable=False),
        sa.Column("requested_at", INSTANT, nullable=False),
        sa.Column("path", sa.String(length=300), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=True),
        sa.Column("sha256", sa.String(length=64), nullable=True),
        sa.CheckConstraint(
            "format IN ('pdf', 'csv', 'xlsx', 'json')", name=op.f("ck_reports_format")
        ),
        sa.CheckConstraint("last_on >= first_on", name=op.f("ck_reports_period")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_reports_job_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_reports_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
        sa.UniqueConstraint("job_id", name="uq_reports_job_id"),
    )
    op.create_index("ix_reports_user_id_id", "reports", ["user_id", "id"])

    op.create_table(
        "subscriptions",
        sa.Column("id", ID, nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("plan_id", ID, nullable=False),
        sa.Column("plan_version_id", ID, nullable=True),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=True),
        sa.Column("created_at", INSTANT, nullable=False),
        sa.CheckConstraint(
            "ends_on IS NULL OR ends_on >= starts_on", name=op.f("ck_subscriptions_span")
        ),
        sa.ForeignKeyConstraint(["plan_id"], ["plans.id"], name="fk_subscriptions_plan_id"),
        sa.ForeignKeyConstraint(
            ["plan_version_id"], ["plan_versions.id"], name="fk_subscriptions_plan_version_id"
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_subscriptions_user_id"),
        sa.PrimaryKeyConstraint("id", name="pk_subscriptions"),
    )
    op.create_index("ix_subscriptions_user_id_starts_on", "subscriptions", ["user_id", "starts_on"])

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


def downgrade() -> None:
    op.drop_table("audit_personal_values")
    op.drop_table("subscriptions")
    op.drop_table("reports")
    op.drop_table("plan_charges")
    op.drop_table("audit_entries")
    op.drop_table("usage_records")
    op.drop_table("usage_daily")
    op.drop_table("sessions")
    op.drop_table("plan_versions")
    op.drop_table("jobs")
    op.drop_table("api_keys")
    op.drop_table("worker_heartbeats")
    op.drop_table("users")
    op.drop_table("usage_keys")
    op.drop_table("plans")
    op.drop_table("meters")
    op.drop_table("installation")
    op.drop_table("command_keys")
