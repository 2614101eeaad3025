"""Erase a person: personal data become neutral markers, all that bills are made of stays.

Asking for it changes the account at once, in one transaction. Files, and the free text of
what may be millions of usage records, are left to a job; it also looks a second time for what
was under way at that moment, such as a sign-in or a letter.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select

from billtrack.accounts import erasure
from billtrack.accounts.users.authority import require_sign_in_change
from billtrack.accounts.users.models import User
from billtrack.accounts.users.operations import lock_removable_user, require_another_administrator
from billtrack.accounts.users.permissions import Reach
from billtrack.core.errors import ConflictError
from billtrack.documents.reports.erasure import forget_files, remove_files
from billtrack.notifications.mail.operations import erase_letters
from billtrack.notifications.mail.queries import list_letters_about
from billtrack.notifications.mail.sending import name_of
from billtrack.notifications.mail.transport import Transport
from billtrack.platform import audit
from billtrack.platform.audit.operations import erase_personal_values
from billtrack.platform.db import database_now, transaction
from billtrack.platform.driver import truncate_log
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.operations import enqueue
from billtrack.platform.jobs.runner import Run, TryLater
from billtrack.platform.storage.storage import Storage
from billtrack.usage.erasure import erase_free_text, forget_refused, forget_rejected

ERASURE = "erasure"
"""The kind of the job that erases what takes long."""

AT_ONCE = 5_000
"""Usage records of one transaction."""

SETTLED = timedelta(minutes=1)
"""How long after the erasure everything that had begun before it has ended."""


class OwnErasure(ConflictError):
    """Nobody erases the account that they act with."""

    code = "own_erasure"


def erase_account(user_id: int, *, actor: audit.Actor, reach: Reach, now: datetime) -> User:
    """Erase the personal data of the account; doing it again changes nothing.

    Whoever asks must have made sure that this account is meant. Raises UserNotFound,
    ForbiddenError, OwnErasure and LastAdministrator.
    """
    if actor.user_id == user_id:
        raise OwnErasure("You cannot erase the account that you are signed in with.")
    # Two at once: the second waits here, and then finds the account erased.
    user = lock_removable_user(user_id, reach=reach, rule=require_sign_in_change)
    if user.is_erased:
        return user
    if user.is_active:
        require_another_administrator(user)
    emails = erasure.known_emails(user)
    erasure.forget_tries(user.id, emails)
    erasure.put_markers(user, now=now)
    erasure.mask_answers(user, emails)
    forget_refused(emails)
    erase_personal_values([user.id], saying=emails)
    _erase_rows(user, now)
    last_report_id = forget_files(user.id)
    audit.record("user.erased", actor=actor, now=now, object_type="user", object_id=user.id)
    enqueue(
        ERASURE,
        actor=actor,
        now=now,
        payload={"user_id": user.id, "last_report_id": last_report_id},
    )
    return user


def find_erasure(user: User) -> Job | None:
    """Return the job that erases what takes long, of an account that is erased."""
    query = select(Job).where(Job.kind == ERASURE, Job.created_at == user.erased_at)
    found = db.session.scalars(query)
    return next((job for job in found if job.payload.get("user_id") == user.id), None)


@dataclass(frozen=True, slots=True)
class Eraser:
    """Erases what takes long: records, files, and what was under way."""

    storage: Storage
    transport: Transport

    def finish(self, run: Run) -> Callable[[], None]:
        """Erase what is left of the account of this job. Raises TryLater until nothing can be."""
        user = db.session.get_one(User, run.payload["user_id"])
        if user.erased_at is None:
            raise RuntimeError(f"account {user.id} is not erased")
        user_id, erased_at, began_at = user.id, user.erased_at, database_now()
        _erase_records(user_id)
        for letter_id, kind in list_letters_about(user_id):
            self.transport.remove(name=name_of(letter_id, kind))
        have_ended = remove_files(self.storage, user_id, last_id=run.payload["last_report_id"])
        with transaction():
            again = db.session.get_one(User, user_id, with_for_update=True)
            erase_personal_values([user_id])
            _erase_rows(again, began_at)
        truncate_log()
        if not have_ended or began_at < erased_at + SETTLED:
            raise TryLater("Looks once more for what was under way.", after=SETTLED)
        return _nothing


def _nothing() -> None:
    """Store nothing more with the completion."""


def _erase_rows(user: User, now: datetime) -> None:
    erasure.remove_ways_in(user.id, now=now)
    forget_rejected(user.id)
    erase_letters(user.id, name=user.name, address=user.email, now=now)


def _erase_records(user_id: int) -> None:
    """Erase the free text of all usage records, some in each transaction: others write too."""
    last_id: int | None = 0
    while last_id is not None:
        with transaction():
            last_id = erase_free_text(user_id, after_id=last_id, limit=AT_ONCE)
