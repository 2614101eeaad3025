"""A real mail server of the tests: takes, refuses, is away, comes back; plain or with TLS."""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import ssl
import threading
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.services.processes import free_port

TAKEN = "250 taken"


class PostOffice:
    """Keeps what it takes, in order; `answer` is what it says to a recipient or a letter."""

    def __init__(self, *, port: int | None = None, **options: Any) -> None:
        self.port = port or free_port()
        self.letters: list[EmailMessage] = []
        self.recipients: list[list[str]] = []
        self.to_recipient = self.to_letter = TAKEN
        self.holds = False  # say nothing to a letter
        self.met = threading.Event()  # there was one
        self._options = options
        self._controller: Controller | None = None

    def __enter__(self) -> Self:
        self._controller = Controller(
            self, hostname="127.0.0.1", port=self.port, enable_SMTPUTF8=True, **self._options
        )
        self._controller.start()
        return self

    def close(self) -> None:
        if self._controller is not None:
            self._controller.stop()
            self._controller = None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # What aiosmtpd calls; the names are its own.
    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.to_recipient == TAKEN:
            envelope.rcpt_tos.append(address)
        return self.to_recipient

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        self.met.set()
        if self.holds:
            await asyncio.Event().wait()
        if self.to_letter == TAKEN:
            assert isinstance(envelope.content, bytes)
            letter = message_from_bytes(envelope.content, policy=default)
            assert isinstance(letter, EmailMessage)
            self.recipients.append(list(envelope.rcpt_tos))
            self.letters.append(letter)
        return self.to_letter


def asks_for(user: str, password: str) -> Any:
    """Return how aiosmtpd checks a login."""

    def check(
        server: SMTP, session: Session, envelope: Envelope, mechanism: str, given: Any
    ) -> AuthResult:
        assert isinstance(given, LoginPassword)
        fits = (given.login, given.password) == (user.encode(), password.encode())
        return AuthResult(success=fits, handled=False)

    return check


def make_certificate(folder: Path, *, name: str = "127.0.0.1") -> tuple[Path, ssl.SSLContext]:
    """Return a certificate for this address that signs itself, and a server's context with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(name))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "certificate.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, private)
    return path, context


def links_in(letter: EmailMessage) -> list[str]:
    """Return the addresses in the text of the letter."""
    body = letter.get_body(("plain",))
    assert body is not None
    return [word for word in body.get_content().split() if word.startswith("http")]
