"""Hand a message to a mail server, or lay it into a folder where there is none."""

from __future__ import annotations

import contextlib
import os
import secrets
import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

from billtrack.core.errors import BilltrackError, ConflictError
from billtrack.core.mail_servers import MailServer
from billtrack.platform.config import Settings

STEP_SECONDS = 10.0
"""How long connecting, or any one answer of the mail server, may take."""

PERMANENT = 500
LONGEST_REASON = 300


class LetterRefused(ConflictError):
    """The mail server will never take this letter: nobody has the address, or it dislikes it."""

    code = "letter_refused"


class MailServerFails(BilltrackError):
    """The mail server is away, busy, or does not believe us; it may be better later."""

    code = "mail_server_fails"


@dataclass(frozen=True, slots=True)
class Folder:
    """Keeps letters as files that mail programs open: for development, and before there is SMTP."""

    path: Path

    @property
    def place(self) -> str:
        """Where letters go, in words."""
        return str(self.path)

    def check(self) -> None:
        """Raise MailServerFails when the folder cannot be written to."""
        with _filing(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK):
                raise PermissionError(13, "is not writable")

    def send(self, message: EmailMessage, *, name: str) -> None:
        """Write the file, once and whole: sent again, a letter is the same file.

        Only the owner may read it, for it may hold a link. Raises MailServerFails.
        """
        with _filing(self.path):
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            unfinished = self.path / f".{name}.{secrets.token_hex(8)}"
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(message.as_bytes())
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.path / f"{name}.eml")

    def remove(self, *, name: str) -> None:
        """Remove the file of a letter, if it is there. Raises MailServerFails."""
        with _filing(self.path):
            (self.path / f"{name}.eml").unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Smtp:
    """Hands letters to a mail server; `hello` is the name by which we greet it."""

    server: MailServer
    hello: str

    @property
    def place(self) -> str:
        """Where letters go, in words, without what may be secret in it."""
        return f"{self.server.host}:{self.server.port}"

    def check(self) -> None:
        """Raise MailServerFails when the server does not let us in."""
        with self._conversation() as smtp:
            smtp.noop()

    def send(self, message: EmailMessage, *, name: str) -> None:  # noqa: ARG002
        """Hand the message in. Raises LetterRefused, or MailServerFails."""
        with self._conversation() as smtp:
            smtp.send_message(message)

    def remove(self, *, name: str) -> None:
        """Do nothing: what a mail server has taken is not ours any more."""

    @contextlib.contextmanager
    def _conversation(self) -> Iterator[smtplib.SMTP]:
        try:
            with contextlib.closing(self._connect()) as smtp:
                self._enter(smtp)
                yield smtp
                # Said without waiting for the answer: the letter is taken, and until that is
                # stored a lost worker would send it again.
                with contextlib.suppress(OSError):
                    smtp.putcmd("QUIT")
        except (smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError) as error:
            raise _refusal(error) from error
        except smtplib.SMTPNotSupportedError as error:
            raise LetterRefused(f"The mail server cannot: {error}.") from error
        except (OSError, smtplib.SMTPException) as error:
            raise MailServerFails(f"{self.place} fails: {_reason(error)}") from error

    def _connect(self) -> smtplib.SMTP:
        server = self.server
        if server.tls == "at_once":
            return smtplib.SMTP_SSL(
                server.host,
                server.port,
                local_hostname=self.hello,
                timeout=STEP_SECONDS,
                context=ssl.create_default_context(),
            )
        return smtplib.SMTP(
            server.host, server.port, local_hostname=self.hello, timeout=STEP_SECONDS
        )

    def _enter(self, smtp: smtplib.SMTP) -> None:
        if self.server.tls == "starttls":
            smtp.ehlo()
            if not smtp.has_extn("starttls"):
                raise MailServerFails(f"{self.place} offers no STARTTLS; nothing was sent.")
            smtp.starttls(context=ssl.create_default_context())
        if self.server.user is not None:
            smtp.login(self.server.user, self.server.password or "")


Transport = Folder | Smtp


def open_transport(settings: Settings) -> Transport:
    """Return the way that the settings name for letters."""
    if settings.smtp_server is not None:
        return Smtp(settings.smtp_server, hello=settings.public_host)
    return Folder(settings.data_dir.resolve() / "mail")


@contextlib.contextmanager
def _filing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MailServerFails(f"{folder} cannot be written to: {error.strerror}") from error


def _refusal(error: smtplib.SMTPRecipientsRefused | smtplib.SMTPDataError) -> BilltrackError:
    """Return what a refusal means: never (5xx), or not now (4xx)."""
    said: tuple[int, bytes | str]
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        said = next(iter(error.recipients.values()))
    else:
        said = error.smtp_code, error.smtp_error
    kind = LetterRefused if said[0] >= PERMANENT else MailServerFails
    return kind(f"The mail server refuses: {_words(*said)}")


def _reason(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return _words(error.smtp_code, error.smtp_error)
    return (str(error) or type(error).__name__)[:LONGEST_REASON]


def _words(code: int, said: bytes | str) -> str:
    text = said.decode(errors="replace") if isinstance(said, bytes) else said
    return f"{code} {' '.join(text.split())}"[:LONGEST_REASON]
