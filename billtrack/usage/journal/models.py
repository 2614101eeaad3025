"""Tables: usage_sources, usage_source_hours."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from billtrack.db import Base, UTCDateTime


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
