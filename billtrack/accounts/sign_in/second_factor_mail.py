"""Letters about the second factor: who did not do it themselves shall hear of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from billtrack.accounts.users.models import User
from billtrack.notifications import mail
from billtrack.notifications.mail.operations import Recipient
from billtrack.platform import audit

LETTER = "second_factor"


class Event(StrEnum):
    """What happened to a second factor; the names stand in the audit log."""

    ON = "switched_on"
    OFF = "switched_off"
    RESET = "reset"
    RECOVERY_CODE_USED = "recovery_code_used"
    NEW_RECOVERY_CODES = "recovery_codes_made"


IN_WORDS = {
    Event.ON: "A second factor was switched on. Signing in takes a code from now on.",
    Event.OFF: "The second factor was switched off. The password alone opens the account now.",
    Event.RESET: "An administrator has reset the second factor. "
    "The password alone opens the account now; you can set up another one on your profile.",
    Event.RECOVERY_CODE_USED: "A recovery code was used in place of a code from your telephone.",
    Event.NEW_RECOVERY_CODES: "New recovery codes were made. Those before are worthless.",
}


def tell_owner(user: User, event: Event, *, actor: audit.Actor, now: datetime) -> None:
    """Queue a letter to the account that says what happened."""
    mail.queue(
        LETTER,
        actor=actor,
        now=now,
        to=Recipient(user.id, user.email, user.name),
        context={"what": IN_WORDS[event]},
    )
