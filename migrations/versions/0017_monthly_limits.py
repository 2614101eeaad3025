"""Keep monthly totals, variants of usage, and a key for each reversal; cut the keys by hash.

PostgreSQL copies usage_keys into partitions, SQLite copies usage_daily. How many rows that are
is logged before it begins.

Revision ID: 0017
Revises: 0016
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MAX_TOTAL = 10**18
MAX_BIGINT = 2**63 - 1
PARTITIONS = 16
CHUNK = 5_000
REVERSES_ONE = sa.text("reverses_id IS NOT NULL")

RECORDS = sa.table("usage_records", *map(sa.column, ("id", "reverses_id")))
KEYS = sa.table("usage_keys", *map(sa.column, ("key_hash", "record_id", "fingerprint")))
COLUMNS = ("user_id", "meter_id", "variant", "day", "quantity", "count")
DAILY = sa.table("usage_daily", *map(sa.column, COLUMNS))
MONTHLY = sa.table("usage_monthly", *map(sa.column, ("quantity",)))

FILL_MONTHS = {
    "postgresql": f"""
        INSERT INTO usage_monthly (user_id, meter_id, month, quantity, ceiling)
        SELECT user_id, meter_id, month, total, greatest(total, {MAX_TOTAL})
        FROM (
            SELECT user_id, meter_id, date_trunc('month', day::timestamp)::date AS month,
                least(sum(quantity), {MAX_BIGINT}) AS total
            FROM usage_daily GROUP BY 1, 2, 3
        ) AS sums
    """,  # noqa: S608 (numbers of ours)
    # SQLite adds in 64 bits: above and below 10^9 nothing is lost.
    "sqlite": f"""
        INSERT INTO usage_monthly (user_id, meter_id, month, quantity, ceiling)
        SELECT user_id, meter_id, month, total, max(total, {MAX_TOTAL})
        FROM (
            SELECT user_id, meter_id, month, CASE
                WHEN high + low / 1000000000 > {MAX_BIGINT // 10**9 - 1} THEN {MAX_BIGINT}
                ELSE high * 1000000000 + low
            END AS total
            FROM (
                SELECT user_id, meter_id, strftime('%Y-%m-01', day) AS month,
                    sum(quantity / 1000000000) AS high, sum(quantity % 1000000000) AS low
                FROM usage_daily GROUP BY 1, 2, 3
            ) AS halves
        ) AS sums
    """,  # noqa: S608 (numbers of ours)
}  # fmt: skip
MERGE_VARIANTS = """
    INSERT INTO usage_daily (user_id, meter_id, variant, day, quantity, count)
    SELECT user_id, meter_id, '', day, sum(quantity), sum(count)
    FROM usage_daily WHERE variant <> '' GROUP BY user_id, meter_id, day
    ON CONFLICT (user_id, meter_id, variant, day) DO UPDATE
    SET quantity = usage_daily.quantity + excluded.quantity,
        count = usage_daily.count + excluded.count
"""

log = structlog.get_logger("billtrack.migrations")


def upgrade() -> None:
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    _announce("usage_daily", DAILY, "index built again" if is_postgresql else "copied")
    _announce("usage_keys", KEYS, "copied" if is_postgresql else "kept")
    _announce("usage_records", RECORDS, "read", RECORDS.c.reverses_id.is_not(None))
    op.add_column("usage_records", _variant())
    if is_postgresql:
        op.drop_constraint("fk_usage_records_reverses_id", "usage_records", type_="foreignkey")
        op.add_column("usage_daily", _variant())
        _replace_daily_key(["user_id", "meter_id", "variant", "day"])
        _cut_keys()
    else:
        _copy_daily(with_variant=True)
    _index_reversals()
    _claim_keys_of_reversals()
    _create_months()


def downgrade() -> None:
    op.drop_table("usage_monthly")
    reversals = sa.select(RECORDS.c.id).where(RECORDS.c.reverses_id.is_not(None))
    op.execute(KEYS.delete().where(KEYS.c.record_id.in_(reversals)))
    op.drop_index("ix_usage_records_user_id_reverses_id", table_name="usage_records")
    op.create_index(
        "uq_usage_records_reverses_id",
        "usage_records",
        ["reverses_id"],
        unique=True,
        postgresql_where=REVERSES_ONE,
        sqlite_where=REVERSES_ONE,
    )
    op.execute(MERGE_VARIANTS)
    op.execute(DAILY.delete().where(DAILY.c.variant != ""))
    if op.get_bind().dialect.name == "postgresql":
        _join_keys()
        _replace_daily_key(["user_id", "meter_id", "day"])
        op.drop_column("usage_daily", "variant")
        op.create_foreign_key(
            "fk_usage_records_reverses_id",
            "usage_records",
            "usage_records",
            ["reverses_id"],
            ["id"],
        )
    else:
        _copy_daily(with_variant=False)
    op.drop_column("usage_records", "variant")


def _variant() -> sa.Column[str]:
    return sa.Column("variant", sa.String(length=255), server_default="", nullable=False)


def _announce(name: str, table: sa.TableClause, work: str, *where: Any) -> None:
    rows = op.get_bind().scalar(sa.select(sa.func.count()).select_from(table).where(*where))
    if rows:  # none in a new installation
        log.info("migration_rows", migration=revision, table=name, rows=rows, work=work)


def _replace_daily_key(columns: list[str]) -> None:
    op.drop_constraint("pk_usage_daily", "usage_daily", type_="primary")
    op.create_primary_key("pk_usage_daily", "usage_daily", columns)


def _copy_daily(*, with_variant: bool) -> None:
    """Make the table again: SQLite cannot change a primary key. It has no trigger to lose."""
    key = ["user_id", "meter_id", *(["variant"] if with_variant else []), "day"]
    op.create_table(
        "usage_daily_new",
        sa.Column("user_id", ID, autoincrement=False, nullable=False),
        sa.Column("meter_id", sa.Integer(), nullable=False),
        *([_variant()] if with_variant else []),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            f"quantity BETWEEN 0 AND {MAX_TOTAL}", name=op.f("ck_usage_daily_quantity")
        ),
        sa.ForeignKeyConstraint(["meter_id"], ["meters.id"], name="fk_usage_daily_meter_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_usage_daily_user_id"),
        sa.PrimaryKeyConstraint(*key, name="pk_usage_daily"),
        sqlite_with_rowid=not with_variant,
    )
    op.execute(
        "INSERT INTO usage_daily_new (user_id, meter_id, day, quantity, count) "
        "SELECT user_id, meter_id, day, quantity, count FROM usage_daily"
    )
    op.drop_table("usage_daily")
    op.rename_table("usage_daily_new", "usage_daily")
    op.create_index("ix_usage_daily_day", "usage_daily", ["day"])


def _cut_keys() -> None:
    op.execute("ALTER TABLE usage_keys RENAME TO usage_keys_before")
    op.execute("ALTER TABLE usage_keys_before RENAME CONSTRAINT pk_usage_keys TO pk_keys_before")
    op.create_table(
        "usage_keys",
        sa.Column("key_hash", sa.Uuid(), nullable=False),
        sa.Column("record_id", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=16), nullable=False),
        postgresql_partition_by="HASH (key_hash)",
    )
    for number in range(PARTITIONS):
        op.execute(
            f"CREATE TABLE usage_keys_{number:02d} PARTITION OF usage_keys "
            f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
        )
    _copy_keys("encode(key_hash, 'hex')::uuid")


def _join_keys() -> None:
    op.execute("ALTER TABLE usage_keys RENAME TO usage_keys_before")
    op.execute("ALTER TABLE usage_keys_before RENAME CONSTRAINT pk_usage_keys TO pk_keys_before")
    op.create_table(
        "usage_keys",
        sa.Column("key_hash", sa.LargeBinary(length=16), nullable=False),
        sa.Column("record_id", sa.BigInteger(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(length=16), nullable=False),
    )
    _copy_keys("uuid_send(key_hash)")


def _copy_keys(key_hash: str) -> None:
    before = sa.table("usage_keys_before", *map(sa.column, ("record_id", "fingerprint")))
    rows = sa.select(sa.literal_column(key_hash), before.c.record_id, before.c.fingerprint)
    op.execute(KEYS.insert().from_select(["key_hash", "record_id", "fingerprint"], rows))
    op.drop_table("usage_keys_before")
    # Built after the rows are there, in a fraction of the time.
    op.create_primary_key("pk_usage_keys", "usage_keys", ["key_hash"])


def _index_reversals() -> None:
    op.drop_index("uq_usage_records_reverses_id", table_name="usage_records")
    op.create_index(
        "ix_usage_records_user_id_reverses_id",
        "usage_records",
        ["user_id", "reverses_id"],
        postgresql_where=REVERSES_ONE,
        sqlite_where=REVERSES_ONE,
    )


def _claim_keys_of_reversals() -> None:
    connection = op.get_bind()
    is_postgresql = connection.dialect.name == "postgresql"
    for reversals in _reversals(connection):
        rows = []
        for record_id, reverses_id in reversals:
            digest = hashlib.blake2b(f"reversal:{reverses_id}".encode(), digest_size=16).digest()
            key_hash = UUID(bytes=digest) if is_postgresql else digest
            rows.append({"key_hash": key_hash, "record_id": record_id, "fingerprint": digest})
        connection.execute(KEYS.insert(), rows)


def _reversals(connection: sa.Connection) -> Iterator[list[tuple[int, int]]]:
    last = 0
    record_id, reverses_id = RECORDS.c.id, RECORDS.c.reverses_id
    query = sa.select(record_id, reverses_id).where(reverses_id.is_not(None)).order_by(record_id)
    while rows := connection.execute(query.where(record_id > last).limit(CHUNK)).all():
        yield [(int(row[0]), int(row[1])) for row in rows]
        last = rows[-1][0]


def _create_months() -> None:
    op.create_table(
        "usage_monthly",
        sa.Column("user_id", ID, autoincrement=False, nullable=False),
        sa.Column("meter_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column(
            "ceiling", sa.BigInteger(), server_default=sa.text(f"{MAX_TOTAL}"), nullable=False
        ),
        sa.CheckConstraint(
            "quantity BETWEEN 0 AND ceiling", name=op.f("ck_usage_monthly_quantity")
        ),
        sa.ForeignKeyConstraint(["meter_id"], ["meters.id"], name="fk_usage_monthly_meter_id"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_usage_monthly_user_id"),
        sa.PrimaryKeyConstraint("user_id", "meter_id", "month", name="pk_usage_monthly"),
        sqlite_with_rowid=False,
    )
    op.execute(FILL_MONTHS[op.get_bind().dialect.name])
    beyond = sa.select(sa.func.count()).select_from(MONTHLY)
    quantity = MONTHLY.c.quantity
    if found := op.get_bind().scalar(beyond.where(quantity > MAX_TOTAL)):
        cut = op.get_bind().scalar(beyond.where(quantity == MAX_BIGINT))
        log.warning("months_beyond_limit", months=found, limit=MAX_TOTAL, cut_to_64_bits=cut)
