"""Settings of mail say where letters go, and refuse what would give a password away."""

from __future__ import annotations

from pathlib import Path

import pytest

from billtrack.core.errors import InvalidError
from billtrack.core.mail_servers import MailServer, parse_sender
from billtrack.platform.config import ConfigError, Settings, load_settings

FROM = "Billing <billing@example.com>"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BILLTRACK_SMTP_URL", "BILLTRACK_MAIL_FROM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BILLTRACK_DATA_DIR", str(tmp_path))


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtp://mail.example.com", MailServer("mail.example.com", 587, "starttls")),
        ("smtps://mail.example.com", MailServer("mail.example.com", 465, "at_once")),
        ("smtp://relay:25?starttls=no", MailServer("relay", 25, "never")),
        ("smtp://localhost:1025", MailServer("localhost", 1025, "never")),
        ("smtp://[::1]:25", MailServer("::1", 25, "never")),
        (
            "smtp://a%40b:p%2Fq@mail.example.com:2525/",
            MailServer("mail.example.com", 2525, "starttls", "a@b", "p/q"),
        ),
    ],
)
def test_it_reads_the_address(url: str, server: MailServer) -> None:
    assert MailServer.parse(url) == server


@pytest.mark.parametrize(
    "url",
    [
        "mail.example.com",
        "http://mail.example.com",
        "smtp://",
        "smtp://mail.example.com:x",
        "smtp://mail.example.com/inbox",
        "smtp://mail.example.com?starttls=maybe",
        "smtps://mail.example.com?starttls=no",
        "smtp://user:hush@mail.example.com?starttls=no",
    ],
)
def test_it_refuses_what_is_none_or_gives_a_password_away(url: str) -> None:
    with pytest.raises(InvalidError) as refused:
        MailServer.parse(url)
    assert "hush" not in str(refused.value)


def test_a_server_does_not_show_its_password() -> None:
    assert "hush" not in repr(MailServer.parse("smtp://user:hush@mail.example.com"))


@pytest.mark.parametrize(
    "text",
    ["", "billing", "@x.example", "=?q?a?= <b@x.example>", "B <b@x.example>\nBcc: c@x.example"],
)
def test_it_refuses_a_sender_that_is_none(text: str) -> None:
    with pytest.raises(InvalidError):
        parse_sender(text)


def test_the_address_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "smtp").write_text("smtps://user:hush@mail.example.com\n")
    monkeypatch.setenv("BILLTRACK_SMTP_URL_FILE", str(tmp_path / "smtp"))
    monkeypatch.setenv("BILLTRACK_MAIL_FROM", FROM)
    settings = load_settings()
    assert settings.smtp_server == MailServer("mail.example.com", 465, "at_once", "user", "hush")
    assert (settings.sender.display_name, settings.sender.addr_spec) == (
        "Billing",
        "billing@example.com",
    )
    assert "hush" not in str(settings.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("name", "url", "sender"),
    [
        ("BILLTRACK_SMTP_URL", "ftp://hush.example", FROM),
        ("BILLTRACK_MAIL_FROM", "smtp://mail.example.com", "nobody"),
        ("BILLTRACK_MAIL_FROM", "smtp://mail.example.com", ""),
    ],
)
def test_it_names_the_setting_that_is_wrong(
    name: str, url: str, sender: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILLTRACK_SMTP_URL", url)
    monkeypatch.setenv("BILLTRACK_MAIL_FROM", sender)
    with pytest.raises(ConfigError, match=name):
        load_settings()


def test_without_a_server_there_is_a_sender_all_the_same() -> None:
    assert Settings().sender.addr_spec == "billtrack@localhost"
