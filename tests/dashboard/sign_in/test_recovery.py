"""Forgotten passwords, and the page behind a one-time link."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import Engine, event, select, update

from billtrack.accounts.sign_in.password_recovery import request_reset
from billtrack.accounts.users.links import MOST_AN_HOUR, Purpose, send_link
from billtrack.accounts.users.models import OneTimeLink, User
from billtrack.accounts.users.permissions import Role
from billtrack.notifications.mail.models import Letter
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from tests.cast import PASSWORD, SYSTEM, create_user
from tests.dashboard.page import Page, Visitor, count
from tests.notifications.mail.mailbox import deliver, link_in
from tests.notifications.mail.post_office import links_in

pytestmark = pytest.mark.one_database

NEW = "another horse, another battery"
EVERYONE = ("ada@test.example", "nobody@test.example", "gone@test.example", "keys@test.example")


@pytest.fixture
def ada(app: APIFlask) -> User:
    create_user(email="keys@test.example")
    gone = create_user(email="gone@test.example", password=PASSWORD)
    with transaction() as session:
        session.get_one(User, gone.id).deactivated_at = datetime.now(UTC)
    return create_user(role=Role.MANAGER, email="ada@test.example", password=PASSWORD)


def forget(app: APIFlask, email: str, **options: Any) -> Page:
    visitor = Visitor(app)
    page = visitor.open("/forgot-password")
    return visitor.send(page, "/forgot-password", {"email": email}, **options)


def reset_link(app: APIFlask, email: str = "ada@test.example") -> str:
    assert forget(app, email).status == 200
    return link_in(deliver(app)[-1])


def choose(visitor: Visitor, page: Page, password: str = NEW, again: str | None = None) -> Page:
    typed = {"password": password, "password_again": password if again is None else again}
    return visitor.send(page, "/choose-password", typed)


@contextmanager
def heard_statements() -> Iterator[list[str]]:
    """Collect every statement that is sent to a database."""
    heard: list[str] = []

    def listen(_c: Any, _k: Any, statement: str, *_rest: Any) -> None:
        heard.append(statement)

    event.listen(Engine, "before_cursor_execute", listen)
    yield heard
    event.remove(Engine, "before_cursor_execute", listen)


def test_it_leads_from_a_forgotten_password_to_a_new_one(app: APIFlask, ada: User) -> None:
    visitor = Visitor(app)
    sign_in = visitor.open("/sign-in")
    assert "/forgot-password" in sign_in.links
    link = reset_link(app)
    page = visitor.open(link)
    assert page.heading == "Choose a password"
    assert "ada@test.example" in page.text
    answer = choose(visitor, page)
    assert answer.location == "/sign-in"
    after = visitor.follow(answer)
    assert after.alerts == ["Your password is set. Sign in with it."]
    typed = {"email": "ada@test.example", "password": NEW}
    assert visitor.send(after, "/sign-in", typed).location == "/"


def test_it_says_and_does_the_same_for_every_address(app: APIFlask, ada: User) -> None:
    told, done = set(), set()
    for email in EVERYONE:
        visitor = Visitor(app)
        page = visitor.open("/forgot-password")
        with heard_statements() as heard:
            answer = visitor.send(page, "/forgot-password", {"email": email.upper()})
        assert answer.status == 200
        told.add(answer.text.replace(email.upper(), "…"))
        done.add(tuple(heard))
    assert len(told) == 1
    assert len(done) == 1
    assert [letter["To"] for letter in deliver(app)] == ["ada <ada@test.example>"]


def test_no_address_is_kept_with_the_work_it_was(app: APIFlask, ada: User) -> None:
    for email in EVERYONE:
        forget(app, email)
    deliver(app)
    db.session.rollback()
    assert [job.payload for job in db.session.scalars(select(Job))] == [{}] * (len(EVERYONE) + 1)
    assert {job.status for job in db.session.scalars(select(Job))} == {"completed"}


def test_it_asks_for_an_address(app: APIFlask) -> None:
    for email, error in (
        ("", "Write your e-mail address."),
        ("a" * 300, "Write at most 254 characters."),
        ("a\0@test.example", "Use printable characters only."),
    ):
        page = forget(app, email)
        assert (page.status, page.error("/forgot-password", "email")) == (422, error)
    assert count(Job) == 0


def test_asking_again_and_again_fills_nobodys_mailbox(app: APIFlask, ada: User) -> None:
    for _ in range(MOST_AN_HOUR + 3):
        with transaction():
            request_reset("ada@test.example", actor=SYSTEM, now=datetime.now(UTC))
    assert len(deliver(app)) == MOST_AN_HOUR


def test_those_who_ask_cannot_fill_the_table_of_jobs(
    app: APIFlask, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billtrack.accounts.sign_in.password_recovery.MOST_WAITING", 2)
    assert [forget(app, email).status for email in EVERYONE[:3]] == [200, 200, 503]
    assert count(Job) == 2
    deliver(app)
    assert forget(app, "ada@test.example").status == 200


def test_the_newest_link_alone_opens(app: APIFlask, ada: User) -> None:
    first, second = reset_link(app), reset_link(app)
    visitor = Visitor(app)
    visitor.open(first, 404)
    visitor.open(second)


def test_opening_it_uses_nothing_up(app: APIFlask, ada: User) -> None:
    link = reset_link(app)
    for method in ("GET", "HEAD", "GET"):
        assert Visitor(app).client.open(link, method=method).status_code == 200
    visitor = Visitor(app)
    assert choose(visitor, visitor.open(link)).status == 303


def test_wrong_used_and_expired_links_are_refused_alike(app: APIFlask, ada: User) -> None:
    visitor = Visitor(app)
    used = reset_link(app)
    form = visitor.open(used)
    visitor.follow(choose(visitor, form))
    expired = reset_link(app)
    with transaction() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(update(OneTimeLink).values(expires_at=past))
    wrong = ("/choose-password", "/choose-password?token=" + "x" * 43, "/choose-password?token=%00")
    pages = [visitor.open(address, 404) for address in (used, expired, *wrong)]
    pages.append(choose(visitor, form, "yet another horse"))
    assert {page.status for page in pages} == {404}
    assert len({page.text for page in pages}) == 1
    assert "/forgot-password" in pages[0].links


def test_it_says_what_is_wrong_and_keeps_the_link(app: APIFlask, ada: User) -> None:
    visitor = Visitor(app)
    page = visitor.open(reset_link(app))
    for password, again, field in (
        ("", "", "password"),
        ("short", "short", "password"),
        (NEW, NEW + "x", "password_again"),
    ):
        page = choose(visitor, page, password, again)
        assert page.status == 422
        assert page.error("/choose-password", field)
        assert page.values("/choose-password")["password"] == ""
    assert choose(visitor, page).status == 303


def test_the_secret_is_in_no_address_but_the_first(app: APIFlask, ada: User) -> None:
    link = reset_link(app)
    page = Visitor(app).open(link)
    assert page.answer.headers["Referrer-Policy"] == "strict-origin"
    assert page.answer.headers["Cache-Control"] == "no-store"
    secret = link.partition("token=")[2]
    assert page.source.count(secret) == 1  # the hidden field
    assert page.form("/choose-password").get("action") == "/choose-password"


def test_no_log_and_no_table_holds_the_secret(
    app: APIFlask, ada: User, logged: Callable[[], str]
) -> None:
    link = reset_link(app)
    visitor = Visitor(app)
    choose(visitor, visitor.open(link))
    text, secret = logged(), link.partition("token=")[2]
    assert "/choose-password" in text
    assert secret not in text
    with db.engine.connect() as connection:
        for table in db.metadata.sorted_tables:
            assert secret not in str(connection.execute(table.select()).all()), table.name


def test_the_letter_leads_to_this_site_whatever_host_was_asked(app: APIFlask, ada: User) -> None:
    forget(app, "ada@test.example", headers={"X-Forwarded-Host": "evil.example"})
    (letter,) = deliver(app)
    assert links_in(letter)[0].startswith("http://localhost:6009/choose-password?token=")
    html = letter.get_body(("html",))
    assert html is not None
    assert "evil.example" not in html.get_content()


def test_it_works_behind_https_where_the_sender_of_a_form_is_checked(
    app: APIFlask, ada: User
) -> None:
    app.config["WTF_CSRF_SSL_STRICT"] = True
    visitor = Visitor(app)
    page = visitor.open(reset_link(app), base_url="https://localhost")
    # What a browser sends under this page's Referrer-Policy: the site, not the address.
    answer = visitor.send(
        page,
        "/choose-password",
        {"password": NEW, "password_again": NEW},
        base_url="https://localhost",
        headers={"Referer": "https://localhost/"},
    )
    assert answer.status == 303


def test_an_invitation_is_opened_by_the_same_page(app: APIFlask) -> None:
    eve = create_user(email="eve@test.example")
    with transaction():
        send_link(eve, purpose=Purpose.INVITATION, actor=SYSTEM, now=datetime.now(UTC))
    (letter,) = deliver(app)
    visitor = Visitor(app)
    assert choose(visitor, visitor.open(link_in(letter))).status == 303
    assert db.session.scalars(select(Letter.seed)).all() == [None]
