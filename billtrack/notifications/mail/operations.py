"""Queue letters and say what became of them. The caller owns the transaction."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import case, func, select, update

from billtrack.notifications.mail.models import Letter
from billtrack.platform import audit
from billtrack.platform.extensions import current_settings, db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.operations import enqueue


@dataclass(frozen=True, slots=True)
class Recipient:
    """Whom a letter is for: an account, its address, and how it is called."""

    user_id: int
    address: str
    name: str


LETTER = "letter"
"""The kind of the job that sends one."""


def queue(
    kind: str,
    *,
    actor: audit.Actor,
    now: datetime,
    to: Recipient,
    context: Mapping[str, str],
    seed: bytes | None = None,
    expires_at: datetime | None = None,
) -> Letter:
    """Add a letter to the outbox; a worker sends it once the transaction is stored.

    `kind` names its templates, `context` fills them. What must not be read in the database
    does not belong there: a link is made from the `seed`. After `expires_at` the letter is not
    sent any more.
    """
    job = enqueue(LETTER, actor=actor, now=now, payload={})
    letter = Letter(
        job_id=job.id,
        user_id=to.user_id,
        kind=kind,
        address=to.address,
        name=to.name,
        context=dict(context),
        seed=seed,
        message_id=f"<{secrets.token_hex(16)}@{current_settings().sender.domain}>",
        created_at=now,
        expires_at=expires_at,
    )
    db.session.add(letter)
    db.session.flush()
    return letter


def mark_sent(letter_id: int, *, now: datetime) -> None:
    """Note that the letter is on its way, and forget what its link was made from."""
    _finish(letter_id, sent_at=now, error=None)


def mark_failed(letter_id: int, *, error: str, now: datetime) -> None:
    """Give the letter up, and forget what its link was made from."""
    _finish(letter_id, failed_at=now, error=error)


def note_attempt(letter_id: int, *, error: str) -> None:
    """Note that the letter could not be sent this time, and why."""
    db.session.execute(
        update(Letter)
        .where(Letter.id == letter_id, Letter.failed_at.is_(None))
        .values(attempts=Letter.attempts + 1, error=error)
    )


def _finish(letter_id: int, **values: object) -> None:
    # Of one that was given up meanwhile nothing is noted: its account may be erased.
    unfinished = (Letter.id == letter_id, Letter.sent_at.is_(None), Letter.failed_at.is_(None))
    db.session.execute(update(Letter).where(*unfinished).values(seed=None, **values))


def erase_letters(user_id: int, *, name: str, address: str, now: datetime) -> None:
    """Put markers into the letters to a person; those that wait are given up.

    Letters that name the person as their inviter name nobody any more.
    """
    to_them = Letter.user_id == user_id
    jobs = select(Letter.job_id).where(to_them)
    db.session.execute(update(Job).where(Job.id.in_(jobs)).values(error=None))
    given_up = case((Letter.sent_at.is_(None), func.coalesce(Letter.failed_at, now)))
    db.session.execute(
        update(Letter)
        .where(to_them)
        .values(name=name, address=address, context={}, seed=None, error=None, failed_at=given_up)
    )
    asked = select(Letter).join(Job, Job.id == Letter.job_id)
    for letter in db.session.scalars(asked.where(Job.requested_by_id == user_id)):
        if letter.context.get("inviter"):
            letter.context = {**letter.context, "inviter": ""}
