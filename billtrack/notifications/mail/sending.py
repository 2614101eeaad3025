"""The job that sends one letter: at least once, and hardly ever twice.

A letter is marked as sent in a transaction of its own as soon as the mail server has taken it.
A worker that dies between these two leaves a letter that is sent again, with the same
Message-ID, by which mail programs tell that they have it; there is no protocol in which both
sides could be sure. In a folder it is the same file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from billtrack.core.errors import InvalidError
from billtrack.notifications.mail import operations
from billtrack.notifications.mail.models import Letter
from billtrack.notifications.mail.queries import get_letter_of
from billtrack.notifications.mail.transport import LetterRefused, MailServerFails, Transport
from billtrack.notifications.mail.writing import NoRecipient, write_message
from billtrack.platform.db import database_now, end_read, transaction
from billtrack.platform.jobs.runner import Run, TryLater
from billtrack.platform.redaction import redact

log = structlog.get_logger(__name__)

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
PAUSES = (MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR)
"""How long to wait after each attempt that failed; after the last one the letter is given up."""


class LetterGivenUp(InvalidError):
    """The letter was not sent, and will not be."""

    code = "letter_given_up"


@dataclass(frozen=True, slots=True)
class LetterSender:
    """Sends letters by one transport."""

    transport: Transport

    def send(self, run: Run) -> Callable[[], None]:
        """Send the letter of this job, unless it is sent already.

        Raises TryLater, or LetterGivenUp with a reason for people.
        """
        letter = get_letter_of(run.job_id)
        if letter.sent_at is not None:
            return _nothing
        now = database_now()
        _require_useful(letter, now)
        name = name_of(letter.id, letter.kind)
        try:
            message = write_message(letter)
            end_read()
            self.transport.send(message, name=name)
        except (LetterRefused, NoRecipient) as error:
            raise _give_up(letter, error.detail, now) from error
        except MailServerFails as error:
            raise _postpone(letter, error.detail, now) from error
        with transaction():
            operations.mark_sent(letter.id, now=now)
        log.info("letter_sent", letter_id=letter.id, kind=letter.kind)
        return _nothing


def name_of(letter_id: int, kind: str) -> str:
    """Return the name of a letter's file, where letters are files."""
    return f"{letter_id:06d}-{kind}"


def _nothing() -> None:
    """Store nothing more: the letter is marked already, whoever holds the job by now."""


def _require_useful(letter: Letter, now: datetime) -> None:
    if letter.failed_at is not None:
        raise LetterGivenUp("This letter was given up. Have another one sent.")
    if letter.expires_at is not None and letter.expires_at <= now:
        raise _give_up(letter, "Its link had expired before it could be sent.", now)


def _postpone(letter: Letter, reason: str, now: datetime) -> Exception:
    if letter.attempts >= len(PAUSES):
        return _give_up(letter, reason, now)
    pause = PAUSES[letter.attempts]
    if letter.expires_at is not None and letter.expires_at <= now + pause:
        return _give_up(letter, reason, now)
    with transaction():
        operations.note_attempt(letter.id, error=redact(reason))
    log.warning("letter_waits", letter_id=letter.id, reason=reason)
    return TryLater(reason, after=pause)


def _give_up(letter: Letter, reason: str, now: datetime) -> LetterGivenUp:
    with transaction():
        operations.mark_failed(letter.id, error=redact(reason), now=now)
    log.warning("letter_given_up", letter_id=letter.id, reason=reason)
    return LetterGivenUp(f"{redact(reason)} The letter is given up. Have another one sent.")
