"""Tables: meters, usage_records, usage_keys, usage_daily, usage_monthly."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Uuid,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import TypeDecorator, TypeEngine

from billtrack.platform.db import Base, BigId, JsonObject, UTCDateTime

MAX_TOTAL = 10**18
"""Limit of a month of a user and meter, base units."""

MAX_BIGINT = 2**63 - 1

KEY_PARTITIONS = tuple(f"usage_keys_{number:02d}" for number in range(16))
"""The tables that hold the rows of usage_keys on PostgreSQL, by hash of the key."""


WITHOUT_ROWID = {"sqlite_with_rowid": False}
"""SQLite keeps the rows in the tree of the primary key: one tree to write, in place of two."""


class KeyHash(TypeDecorator[UUID]):
    """A 16-byte digest: uuid on PostgreSQL, where it takes 4 bytes less, and bytes on SQLite."""

    impl = LargeBinary(16)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Choose the storage of this database."""
        is_sqlite = dialect.name == "sqlite"
        return dialect.type_descriptor(LargeBinary(16) if is_sqlite else Uuid())

    def process_bind_param(self, value: UUID | None, dialect: Dialect) -> UUID | bytes | None:
        """Store the 16 bytes."""
        return value.bytes if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> UUID | None:
        """Return the digest as a UUID."""
        return UUID(bytes=value) if value is not None and dialect.name == "sqlite" else value


class Meter(Base):
    """The definition of an event: what its integers mean and how people read them."""

    __tablename__ = "meters"
    __table_args__ = (CheckConstraint("display_factor >= 1", name="display_factor"),)

    id: Mapped[int] = mapped_column(Integer, primary_key=True)
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    base_unit: Mapped[str] = mapped_column(String(32))
    display_unit: Mapped[str] = mapped_column(String(32))
    display_factor: Mapped[int] = mapped_column(BigInteger)


class UsageRecord(Base):
    """What was used, once and for ever: rows are added, never changed.

    `origin` is the CloudEvents source, which with the account makes the source of the record.
    `variant` is the value of a meter's dimensions by which a plan prices it, '' without any.
    """

    __tablename__ = "usage_records"
    __table_args__ = (
        CheckConstraint("quantity <> 0 AND abs(quantity) <= 1000000000000000", name="quantity"),
        Index(None, "user_id", "id"),
        # Records are partitioned by id one day: on PostgreSQL no foreign key points at them. SQLite
        # would copy the whole table to lose this one.
        ForeignKeyConstraint(["reverses_id"], ["usage_records.id"]).ddl_if(dialect="sqlite"),
        Index(
            None,
            "user_id",
            "reverses_id",
            postgresql_where=text("reverses_id IS NOT NULL"),
            sqlite_where=text("reverses_id IS NOT NULL"),
        ),
        # A few bytes for each quarter megabyte of the table: records come nearly in the order of
        # time, and a tree would cost every record that is stored. SQLite reads the whole table.
        Index(
            "ix_usage_records_occurred_at",
            "occurred_at",
            postgresql_using="brin",
            postgresql_with={"pages_per_range": 32, "autosummarize": True},
        ).ddl_if(dialect="postgresql"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"))
    quantity: Mapped[int] = mapped_column(BigInteger)
    occurred_at: Mapped[datetime] = mapped_column(UTCDateTime)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    recorded_by_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    idempotency_key: Mapped[str | None] = mapped_column(String(255))
    origin: Mapped[str | None] = mapped_column(String(255))
    details: Mapped[dict[str, Any] | None] = mapped_column("metadata", JsonObject)
    reverses_id: Mapped[int | None] = mapped_column(BigId)
    reason: Mapped[str | None] = mapped_column(String(500))
    variant: Mapped[str] = mapped_column(String(255), default="", server_default="")


class UsageKey(Base):
    """A used idempotency key; kept for ever, apart from the records.

    `key_hash` covers source and key, `fingerprint` what the client sent. A reversal has a row,
    too: see `usage.keys.reversal_hash`.
    """

    __tablename__ = "usage_keys"
    __table_args__ = ({"postgresql_partition_by": "HASH (key_hash)"},)

    key_hash: Mapped[UUID] = mapped_column(KeyHash, primary_key=True)
    record_id: Mapped[int] = mapped_column(BigInteger)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(16))


class UsageDaily(Base):
    """Daily rollup: what one user used of one variant of one meter on one billing day."""

    __tablename__ = "usage_daily"
    __table_args__ = (
        CheckConstraint("quantity BETWEEN 0 AND 1000000000000000000", name="quantity"),
        Index(None, "day"),
        WITHOUT_ROWID,
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"), primary_key=True)
    variant: Mapped[str] = mapped_column(
        String(255), primary_key=True, default="", server_default=""
    )
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    quantity: Mapped[int] = mapped_column(BigInteger)
    count: Mapped[int] = mapped_column(BigInteger)


class UsageMonthly(Base):
    """Monthly rollup: the sum of usage_daily of one user and meter, kept below the limit.

    `month` is its first day. `ceiling` is 10^18 base units. Only a month that was beyond it when
    this table came has a higher one, its quantity: such a month can shrink, never grow.
    """

    __tablename__ = "usage_monthly"
    __table_args__ = (
        CheckConstraint("quantity BETWEEN 0 AND ceiling", name="quantity"),
        WITHOUT_ROWID,
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"), primary_key=True)
    month: Mapped[date] = mapped_column(Date, primary_key=True)
    quantity: Mapped[int] = mapped_column(BigInteger)
    ceiling: Mapped[int] = mapped_column(
        BigInteger, default=MAX_TOTAL, server_default=text("1000000000000000000")
    )
