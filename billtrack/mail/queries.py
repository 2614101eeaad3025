"""Read the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from billtrack.extensions import db
from billtrack.mail.models import Letter

RECENT = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class OutboxState:
    """How many letters wait, why the newest of them does, and how many failed within a week."""

    waiting: int
    trouble: str | None
    failed: int


def get_letter_of(job_id: int) -> Letter:
    """Return the letter that the job is to send."""
    return db.session.scalars(select(Letter).where(Letter.job_id == job_id)).one()


def read_outbox(*, now: datetime) -> OutboxState:
    """Return the state of the outbox."""
    is_waiting = (Letter.sent_at.is_(None), Letter.failed_at.is_(None))
    waiting = db.session.scalar(select(func.count()).select_from(Letter).where(*is_waiting))
    has_failed = Letter.failed_at > now - RECENT
    failed = db.session.scalar(select(func.count()).select_from(Letter).where(has_failed))
    troubles = select(Letter.error).where(*is_waiting, Letter.error.is_not(None))
    trouble = db.session.scalar(troubles.order_by(Letter.id.desc()).limit(1))
    return OutboxState(waiting or 0, trouble, failed or 0)
