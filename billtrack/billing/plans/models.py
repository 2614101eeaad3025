"""Tables: plans, plan_versions, plan_charges, subscriptions."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Date,
    ForeignKey,
    Index,
    Integer,
    String,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column, relationship

from billtrack.platform.db import Base, BigId, ExactDecimal, JsonObject, UTCDateTime


class Plan(Base):
    """A price list in one currency, which never changes."""

    __tablename__ = "plans"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    code: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(100))
    currency: Mapped[str] = mapped_column(String(3))
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    versions: Mapped[list[PlanVersion]] = relationship(
        order_by="PlanVersion.number", back_populates="plan"
    )


class PlanVersion(Base):
    """The prices of a plan from a day on; immutable once published.

    The first version of a plan applies from the beginning of time, whatever its date.
    """

    __tablename__ = "plan_versions"
    __table_args__ = (
        UniqueConstraint("plan_id", "number"),
        CheckConstraint("(published_at IS NULL) = (effective_from IS NULL)", name="publication"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"))
    number: Mapped[int] = mapped_column(Integer)
    base_fee: Mapped[Decimal] = mapped_column(ExactDecimal)
    minimum_commitment: Mapped[Decimal] = mapped_column(ExactDecimal)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
    published_at: Mapped[datetime | None] = mapped_column(UTCDateTime)
    effective_from: Mapped[date | None] = mapped_column(Date)
    plan: Mapped[Plan] = relationship(back_populates="versions")
    charges: Mapped[list[PlanCharge]] = relationship(order_by="PlanCharge.position")


class PlanCharge(Base):
    """How one meter is priced in a version, in the canonical JSON form of a charge."""

    __tablename__ = "plan_charges"
    __table_args__ = (UniqueConstraint("version_id", "meter_id"),)

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("plan_versions.id"))
    meter_id: Mapped[int] = mapped_column(ForeignKey("meters.id"))
    position: Mapped[int] = mapped_column(Integer)
    definition: Mapped[dict[str, Any]] = mapped_column(JsonObject)


class Subscription(Base):
    """A user on a plan over inclusive billing days; spans of one user never overlap."""

    __tablename__ = "subscriptions"
    __table_args__ = (
        Index(None, "user_id", "starts_on"),
        CheckConstraint("ends_on IS NULL OR ends_on >= starts_on", name="span"),
    )

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"))
    plan_id: Mapped[int] = mapped_column(ForeignKey("plans.id"))
    plan_version_id: Mapped[int | None] = mapped_column(ForeignKey("plan_versions.id"))
    starts_on: Mapped[date] = mapped_column(Date)
    ends_on: Mapped[date | None] = mapped_column(Date)
    created_at: Mapped[datetime] = mapped_column(UTCDateTime)
