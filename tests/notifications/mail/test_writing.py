"""Letters say the same in text and HTML, whatever somebody is called."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.header import decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from email.utils import parseaddr

import pytest
from apiflask import APIFlask

from billtrack.notifications import mail
from billtrack.notifications.mail.models import Letter
from billtrack.notifications.mail.operations import Recipient
from billtrack.notifications.mail.secrets import new_seed, secret_of
from billtrack.notifications.mail.writing import NoRecipient, one_line, plain_name, write_message
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.cast import SYSTEM, create_user

pytestmark = pytest.mark.one_database

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
HOSTILE = "Eve\r\nBcc: all@test.example\r\n\r\n<script>alert(1)</script>"
ADDRESS = "eve@test.example"


def queue(
    *, name: str = "Eve", inviter: str = "Ada", address: str = ADDRESS, kind: str = "invitation"
) -> Letter:
    user = create_user(email="eve@test.example")
    with transaction():
        return mail.queue(
            kind,
            actor=SYSTEM,
            now=NOW,
            to=Recipient(user.id, address, name),
            context={"inviter": inviter, "lifetime": "7 days"},
            seed=new_seed(),
            expires_at=NOW + timedelta(days=7),
        )


def written(letter: Letter) -> EmailMessage:
    """Return the letter as it arrives: written out and read again."""
    read = message_from_bytes(write_message(letter).as_bytes(), policy=default)
    assert isinstance(read, EmailMessage)
    return read


def bodies(message: EmailMessage) -> tuple[str, str]:
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    return text.get_content(), html.get_content()


def test_a_letter_has_what_a_letter_has(app: APIFlask) -> None:
    letter = queue()
    message = written(letter)
    assert message["Subject"] == "Your account in billtrack"
    assert message["From"] == "billtrack <billtrack@localhost>"
    assert message["To"] == "Eve <eve@test.example>"
    assert message["Date"].datetime == NOW
    assert message["Message-ID"] == letter.message_id == written(letter)["Message-ID"]
    assert message["Auto-Submitted"] == "auto-generated"
    assert message.get_content_type() == "multipart/alternative"


@pytest.mark.parametrize("kind", ["invitation", "password_reset"])
def test_text_and_html_hold_the_same_link(app: APIFlask, kind: str) -> None:
    letter = queue(kind=kind)
    assert letter.seed is not None
    link = f"http://localhost:6009/choose-password?token={secret_of(letter.seed)}"
    text, html = bodies(written(letter))
    assert link in text.split()
    assert html.count(f'href="{link}"') == 2
    for body in (text, html):
        assert "Hello Eve" in body
        assert "Hello Eve" in body
        assert "works once" in " ".join(body.split())


def test_html_shows_nothing_from_elsewhere(app: APIFlask) -> None:
    _, html = bodies(written(queue()))
    for word in ("<img", "<link", "<script", "url(", "src=", "@import"):
        assert word not in html


@pytest.mark.parametrize("name", [HOSTILE, f"=?utf-8?q?Eve=0D=0ABcc:_x@y.example?= {HOSTILE}"])
def test_no_name_becomes_a_header_or_a_script(app: APIFlask, name: str) -> None:
    message = written(queue(name=name, inviter=name))
    assert message["Bcc"] is None
    assert [address.addr_spec for address in message["To"].addresses] == [ADDRESS]
    text, html = bodies(message)
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "\nBcc" not in text


@pytest.mark.parametrize(
    "name",
    ["Ада Лавлейс", "李 小龍", 'Σ, "Q" <x@y>', "é" * 200, "a\u2028b\x0bc"],
)
def test_names_of_any_script_arrive(app: APIFlask, name: str) -> None:
    letter = queue(name=name)
    # Read by the older parser: the newer one adds spaces to long names.
    shown, address = parseaddr(message_from_bytes(write_message(letter).as_bytes())["To"])
    assert plain_name(name)
    assert (str(make_header(decode_header(shown))), address) == (plain_name(name), ADDRESS)
    assert one_line(name) in bodies(written(letter))[0]


def test_a_domain_of_any_script_is_written_as_servers_know_it(app: APIFlask) -> None:
    message = written(queue(address="eve@bücher.example"))
    assert message["To"].addresses[0] == Address("Eve", "eve", "xn--bcher-kva.example")


@pytest.mark.parametrize("address", ["nobody", "=?utf-8?q?a=0D=0ABcc=3A_x=40y?=@test.example"])
def test_it_refuses_an_address_that_is_none(app: APIFlask, address: str) -> None:
    with pytest.raises(NoRecipient):
        write_message(queue(address=address))


def test_the_database_holds_no_link_that_opens(app: APIFlask) -> None:
    letter = queue()
    assert letter.seed is not None
    secret = secret_of(letter.seed)
    row = db.session.execute(db.select(Letter.__table__)).one()
    assert secret not in str(row)
    assert secret in bodies(written(letter))[0]
