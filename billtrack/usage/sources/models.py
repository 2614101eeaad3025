"""Tables: usage_sources, usage_source_hours, usage_rejected_records."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from billtrack.platform.db import Base, BigId, UTCDateTime


class UsageSource(Base):
    """An account that has sent usage, whatever became of it.

    `silent_since_at` is the first hour that it missed, while it is missed.
    """

    __tablename__ = "usage_sources"

    account_id: Mapped[int] = mapped_column(
        ForeignKey("users.id"), primary_key=True, autoincrement=False
    )
    first_seen_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_seen_at: Mapped[datetime] = mapped_column(UTCDateTime)
    silent_since_at: Mapped[datetime | None] = mapped_column(UTCDateTime)


class UsageSourceHour(Base):
    """What became of the records that a source sent in an hour, which begins at `starts_at`.

    `late` are those of the accepted that belong to a month before; `reversed` are records of
    the source that were taken back in that hour, by whomever.
    """

    __tablename__ = "usage_source_hours"
    __table_args__ = (Index(None, "starts_at"),)

    account_id: Mapped[int] = mapped_column(
        ForeignKey("users.id"), primary_key=True, autoincrement=False
    )
    starts_at: Mapped[datetime] = mapped_column(UTCDateTime, primary_key=True)
    accepted: Mapped[int] = mapped_column(BigInteger)
    late: Mapped[int] = mapped_column(BigInteger)
    duplicate: Mapped[int] = mapped_column(BigInteger)
    conflict: Mapped[int] = mapped_column(BigInteger)
    rejected: Mapped[int] = mapped_column(BigInteger)
    reversed: Mapped[int] = mapped_column(BigInteger)


class RejectedRecord(Base):
    """A record that was refused: as it was sent, and why; kept for 30 days.

    `item` is JSON text of at most 8 KiB and without secrets; `is_whole` unless that left
    something out. `key_hash` is that of its idempotency key: sent again under the key it is the
    same row. `user_id` is the number that it names, which need not be anybody's. `record_id`
    is the usage record that it became in the end.
    """

    __tablename__ = "usage_rejected_records"
    __table_args__ = (
        Index(None, "account_id", "id"),
        Index(None, "last_received_at"),
        Index(None, "user_id"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    origin: Mapped[str | None] = mapped_column(String(255))
    key_hash: Mapped[bytes | None] = mapped_column(LargeBinary(16), unique=True)
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    item: Mapped[str] = mapped_column(Text)
    is_whole: Mapped[bool]
    code: Mapped[str] = mapped_column(String(64))
    detail: Mapped[str] = mapped_column(Text)
    errors: Mapped[str] = mapped_column(Text)
    first_received_at: Mapped[datetime] = mapped_column(UTCDateTime)
    last_received_at: Mapped[datetime] = mapped_column(UTCDateTime)
    times: Mapped[int] = mapped_column(Integer)
    record_id: Mapped[int | None] = mapped_column(BigInteger)
    replayed_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
