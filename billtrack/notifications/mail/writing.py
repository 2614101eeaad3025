"""Turn a row of the outbox into a message: text and HTML from the same facts."""

from __future__ import annotations

from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from email_validator import EmailNotValidError, validate_email
from flask import render_template

from billtrack.core.errors import InvalidError
from billtrack.notifications.mail.models import Letter
from billtrack.notifications.mail.secrets import secret_of
from billtrack.platform.extensions import current_settings

SUBJECT = "Subject: "
ENCODED = "=?"
"""How encoded words in headers begin."""

LONGEST_NAME = 60
_SPECIALS = dict.fromkeys(map(ord, '()<>[]:;@\\,"'), " ")


class NoRecipient(InvalidError):
    """A letter cannot go to this address."""

    code = "no_recipient"


def write_message(letter: Letter) -> EmailMessage:
    """Return the letter as it is handed in; its Message-ID is the same at every attempt.

    The text template begins with the subject's line. Raises NoRecipient.
    """
    settings = current_settings()
    context = _context(letter)
    text = render_template(f"mail/{letter.kind}.txt", **context)
    subject, _, body = text.partition("\n")
    message = EmailMessage(policy=SMTP)
    message["Subject"] = one_line(subject.removeprefix(SUBJECT))
    message["From"] = settings.sender
    message["To"] = _recipient(letter)
    message["Date"] = letter.created_at
    message["Message-ID"] = letter.message_id
    message["Auto-Submitted"] = "auto-generated"  # no answers from the absent, please
    message.set_content(body.strip() + "\n", cte="quoted-printable")
    html = render_template(f"mail/{letter.kind}.html", subject=message["Subject"], **context)
    message.add_alternative(html, subtype="html", cte="quoted-printable")
    return message


def one_line(text: str) -> str:
    """Return the text without what could end a header that it becomes a part of."""
    printable = "".join(c for c in " ".join(text.split()) if c.isprintable())
    # Python decodes what looks encoded, and then writes out the line ends that were in it.
    return printable.replace(ENCODED, "= ?")


def plain_name(name: str) -> str:
    """Return as much of the name as stands in a header without quotes.

    Where Python folds a long line, it leaves quotes out: then a name could hold addresses.
    """
    return one_line(name.translate(_SPECIALS))[:LONGEST_NAME].strip()


def _context(letter: Letter) -> dict[str, Any]:
    values = {key: one_line(str(value)) for key, value in letter.context.items()}
    return {
        **values,
        "name": one_line(letter.name),
        "address": letter.address,
        "public_url": current_settings().public_url,
        "secret": secret_of(letter.seed) if letter.seed else None,
        "expires_at": letter.expires_at,
    }


def _recipient(letter: Letter) -> Address:
    try:
        checked = validate_email(letter.address, check_deliverability=False, test_environment=True)
    except EmailNotValidError as error:
        raise NoRecipient(f"No letter can go to this address: {error}") from error
    if ENCODED in letter.address:  # see one_line(); no mailbox is called so
        raise NoRecipient("No letter can go to this address.")
    # A domain may be written in any script; mail servers know it by its ASCII form.
    return Address(
        display_name=plain_name(letter.name),
        username=checked.local_part,
        domain=checked.ascii_domain,
    )
