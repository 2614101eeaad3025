"""Table: month_summaries, what the pages show instead of pricing everybody again."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from sqlalchemy import CheckConstraint, Date
from sqlalchemy.orm import Mapped, mapped_column

from billtrack.platform.db import Base, JsonObject, UTCDateTime


class MonthSummary(Base):
    """What a month came to when it was last counted; one row for each month.

    `month` is its first day. The figures cover it through `covers_through`, inclusive, as they
    were at `taken_at`; amounts in them are integers of minor units.
    """

    __tablename__ = "month_summaries"
    __table_args__ = (CheckConstraint("covers_through >= month", name="days"),)

    month: Mapped[date] = mapped_column(Date, primary_key=True)
    covers_through: Mapped[date] = mapped_column(Date)
    taken_at: Mapped[datetime] = mapped_column(UTCDateTime)
    overview: Mapped[dict[str, Any]] = mapped_column(JsonObject)
    customers: Mapped[dict[str, Any]] = mapped_column(JsonObject)
