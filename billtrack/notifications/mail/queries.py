"""Read the outbox."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select

from billtrack.notifications.mail.models import Letter
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job

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


def list_letters_about(user_id: int) -> Sequence[tuple[int, str]]:
    """Return id and kind of the letters to a person, and of those that it had sent to others."""
    query = select(Letter.id, Letter.kind).join(Job, Job.id == Letter.job_id)
    about = or_(Letter.user_id == user_id, Job.requested_by_id == user_id)
    return [(letter_id, kind) for letter_id, kind in db.session.execute(query.where(about))]


def read_outbox(*, now: datetime) -> OutboxState:
    """Return the state of the outbox."""
    is_waiting = (Letter.sent_at.is_(None), Letter.failed_at.is_(None))
    waiting = db.session.scalar(select(func.count()).select_from(Letter).where(*is_waiting))
    has_failed = Letter.failed_at > now - RECENT
    failed = db.session.scalar(select(func.count()).select_from(Letter).where(has_failed))
    troubles = select(Letter.error).where(*is_waiting, Letter.error.is_not(None))
    trouble = db.session.scalar(troubles.order_by(Letter.id.desc()).limit(1))
    return OutboxState(waiting or 0, trouble, failed or 0)
