"""Tables: usage_imports and the lines that they refused."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from billtrack.platform.db import Base, BigId, UTCDateTime


class UsageImport(Base):
    """A file that was sent to be taken in: by whom, how far it is, what became of its lines.

    The counts grow block by block and say how far the file is done. `columns` are known once
    its header was read. `path` is None once the file and the refused lines are forgotten;
    `cancelled_at` asks the worker to stop before its next block. With `is_dry_run` the counts say
    what an import would do.
    """

    __tablename__ = "usage_imports"
    __table_args__ = (Index(None, "recorded_by_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("jobs.id"), unique=True)
    recorded_by_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    filename: Mapped[str] = mapped_column(String(255))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    path: Mapped[str | None] = mapped_column(String(255))
    is_dry_run: Mapped[bool]
    columns: Mapped[list[str] | None] = mapped_column(JSON)
    accepted: Mapped[int] = mapped_column(BigInteger, default=0)
    duplicate: Mapped[int] = mapped_column(BigInteger, default=0)
    conflict: Mapped[int] = mapped_column(BigInteger, default=0)
    rejected: Mapped[int] = mapped_column(BigInteger, default=0)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    cancelled_at: Mapped[datetime | None] = mapped_column(UTCDateTime)

    @property
    def lines(self) -> int:
        """How many lines are done."""
        return self.accepted + self.duplicate + self.conflict + self.rejected

    @property
    def refused(self) -> int:
        """How many lines were not taken in."""
        return self.conflict + self.rejected


class RefusedLine(Base):
    """A line of an import that was not taken in, as it stood in the file, and why."""

    __tablename__ = "usage_import_refusals"

    import_id: Mapped[int] = mapped_column(ForeignKey("usage_imports.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    cells: Mapped[list[str]] = mapped_column(JSON)
    code: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(Text)
