"""A message reaches a real mail server, or a folder; nothing goes out unprotected."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, default
from pathlib import Path
from typing import Any

import pytest

from billtrack.core.mail_servers import MailServer
from billtrack.notifications.mail.transport import Folder, LetterRefused, MailServerFails, Smtp
from tests.notifications.mail.post_office import PostOffice, asks_for, make_certificate
from tests.services.processes import free_port


@pytest.fixture
def message() -> EmailMessage:
    letter = EmailMessage(policy=SMTP)
    letter["Subject"] = "A test"
    letter["From"] = "billtrack <billtrack@test.example>"
    letter["To"] = "Ada <ada@test.example>"
    letter["Message-ID"] = "<1@test.example>"
    letter.set_content("Hello\n.\n.. dots\n")
    return letter


@pytest.fixture
def office() -> Iterator[PostOffice]:
    with PostOffice() as opened:
        yield opened


def smtp(office: PostOffice, *, tls: str = "", user: str = "") -> Smtp:
    scheme = "smtps" if tls == "at_once" else "smtp"
    server = MailServer.parse(f"{scheme}://{user}127.0.0.1:{office.port}")
    if tls == "starttls":
        server = MailServer("127.0.0.1", office.port, "starttls", server.user, server.password)
    return Smtp(server, hello="billing.test.example")


def test_a_server_takes_it_whole(office: PostOffice, message: EmailMessage) -> None:
    way = smtp(office)
    way.check()
    way.send(message, name="1")
    assert office.recipients == [["ada@test.example"]]
    (taken,) = office.letters
    assert taken["Message-ID"] == "<1@test.example>"
    assert taken.get_content().splitlines() == ["Hello", ".", ".. dots"]
    assert way.place == f"127.0.0.1:{office.port}"


@pytest.mark.parametrize(
    ("to_recipient", "to_letter", "kind"),
    [
        ("550 no such mailbox", "250 taken", LetterRefused),
        ("250 taken", "554 this looks like spam", LetterRefused),
        ("450 try again later", "250 taken", MailServerFails),
        ("250 taken", "451 the disk is full", MailServerFails),
    ],
)
def test_never_and_not_now_are_told_apart(
    to_recipient: str, to_letter: str, kind: type[Exception], message: EmailMessage
) -> None:
    with PostOffice() as office:
        if to_recipient.startswith("2"):
            office.to_letter = to_letter
        else:
            office.to_recipient = to_recipient
        with pytest.raises(kind, match=r"refuses: (4|5)"):
            smtp(office).send(message, name="1")
        assert office.letters == []


def test_nobody_answers(message: EmailMessage) -> None:
    way = Smtp(MailServer("127.0.0.1", free_port(), "never"), hello="x")
    for attempt in (way.check, lambda: way.send(message, name="1")):
        with pytest.raises(MailServerFails, match=r"127\.0\.0\.1:"):
            attempt()


def test_nothing_is_said_without_starttls(office: PostOffice, message: EmailMessage) -> None:
    with pytest.raises(MailServerFails, match="no STARTTLS"):
        smtp(office, tls="starttls").send(message, name="1")
    assert office.letters == []


@pytest.mark.parametrize("tls", ["starttls", "at_once"])
def test_it_checks_the_certificate(
    tls: str, tmp_path: Path, message: EmailMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = make_certificate(tmp_path)
    options: dict[str, Any] = (
        {"ssl_context": context} if tls == "at_once" else {"tls_context": context}
    )
    with PostOffice(**options) as office:
        with pytest.raises(MailServerFails, match="certificate verify failed"):
            smtp(office, tls=tls).send(message, name="1")
        assert office.letters == []
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        smtp(office, tls=tls).send(message, name="1")
        assert len(office.letters) == 1


def test_it_signs_in_by_tls_only(
    tmp_path: Path, message: EmailMessage, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, context = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    check = asks_for("user", "hush")
    with PostOffice(tls_context=context, authenticator=check, auth_required=True) as office:
        with pytest.raises(MailServerFails) as refused:
            smtp(office, tls="starttls", user="user:other@").send(message, name="1")
        assert "535" in str(refused.value)
        assert "other" not in str(refused.value)
        smtp(office, tls="starttls", user="user:hush@").send(message, name="1")
        assert len(office.letters) == 1


def test_a_folder_keeps_it_once_and_for_the_owner_only(
    tmp_path: Path, message: EmailMessage
) -> None:
    folder = Folder(tmp_path / "data" / "mail")
    folder.check()
    for _ in range(2):
        folder.send(message, name="000001-test")
    (file,) = folder.path.iterdir()
    assert file.name == "000001-test.eml"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    kept = message_from_bytes(file.read_bytes(), policy=default)
    assert kept["To"] == "Ada <ada@test.example>"


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, message: EmailMessage) -> None:
    (tmp_path / "mail").write_text("in the way")
    folder = Folder(tmp_path / "mail")
    for attempt in (folder.check, lambda: folder.send(message, name="1")):
        with pytest.raises(MailServerFails, match="mail cannot be written to"):
            attempt()
