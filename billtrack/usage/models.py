"""Tables: meters, usage_records, usage_keys, usage_daily."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from billtrack.db import Base, BigId, JsonObject, UTCDateTime


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
    """

    __tablename__ = "usage_records"
    __table_args__ = (
        CheckConstraint("quantity <> 0 AND abs(quantity) <= 1000000000000000", name="quantity"),
        Index(None, "user_id", "id"),
        Index(
            "uq_usage_records_reverses_id",
            "reverses_id",
            unique=True,
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
    reverses_id: Mapped[int | None] = mapped_column(ForeignKey("usage_records.id"))
    reason: Mapped[str | None] = mapped_column(String(500))


class UsageKey(Base):
    """A used idempotency key; kept for ever, apart from the records.

    `key_hash` covers source and key, `fingerprint` what the client sent.
    """

    __tablename__ = "usage_keys"

    key_hash: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    record_id: Mapped[int] = mapped_column(BigInteger)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(16))


class UsageDaily(Base):
    """The rollup: what one user used of one meter on one billing day."""

    __tablename__ = "usage_daily"
    __table_args__ = (
        CheckConstraint("quantity BETWEEN 0 AND 1000000000000000000", name="quantity"),
        Index(None, "day"),
    )

    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), primary_key=True)
    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    quantity: Mapped[int] = mapped_column(BigInteger)
    count: Mapped[int] = mapped_column(BigInteger)
