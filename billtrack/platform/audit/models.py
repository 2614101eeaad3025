"""Tables: audit_entries, audit_personal_values and audit_head.

Triggers of the database refuse to change or delete an entry, and let a personal value only be
erased. Accounts and keys are plain numbers here: an entry outlives what it is about.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from billtrack.platform.db import Base, BigId, JsonObject, UTCDateTime


class AuditEntry(Base):
    """One change: who, what, on which object. Holds no personal values.

    Numbered in the order of the chain; `hash` is `chain_hash` of it.
    """

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index(None, "object_type", "object_id"),
        Index(None, "actor_user_id"),
        Index(None, "at"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UTCDateTime)
    actor_user_id: Mapped[int | None] = mapped_column(BigInteger)
    actor_api_key_id: Mapped[int | None] = mapped_column(BigInteger)
    request_id: Mapped[str | None] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(64))
    object_type: Mapped[str] = mapped_column(String(32))
    object_id: Mapped[int | None] = mapped_column(BigInteger)
    changes: Mapped[dict[str, Any]] = mapped_column(JsonObject)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class AuditPersonalValue(Base):
    """A value about a person that an entry mentions; may be erased, the entry stays.

    `user_id` is the person, where billtrack knows it. Erased: value, value before and salt are
    gone; only the digest is left, for the chain.
    """

    __tablename__ = "audit_personal_values"
    __table_args__ = (Index(None, "user_id"),)

    entry_id: Mapped[int] = mapped_column(ForeignKey("audit_entries.id"), primary_key=True)
    field: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    before: Mapped[str | None] = mapped_column(Text)
    value: Mapped[str | None] = mapped_column(Text)
    salt: Mapped[bytes | None] = mapped_column(LargeBinary(16))
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))


class AuditHead(Base):
    """The end of the chain: one row, which whoever adds an entry locks."""

    __tablename__ = "audit_head"
    __table_args__ = (CheckConstraint("id = 1", name="single_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last_id: Mapped[int] = mapped_column(BigInteger)
    count: Mapped[int] = mapped_column(BigInteger)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))
