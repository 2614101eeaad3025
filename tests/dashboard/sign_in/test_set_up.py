"""The one-time page that creates the first administrator."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from apiflask import APIFlask

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Role
from billtrack.entrypoints.setup.initialise import setup_link
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.installation.operations import issue_setup_token
from tests.cast import PASSWORD, create_user
from tests.dashboard.page import Page, Visitor, count

pytestmark = pytest.mark.one_database

ADA = {
    "name": "Ada",
    "email": "Ada@test.example",
    "password": PASSWORD,
    "password_again": PASSWORD,
}


def new_path(settings: Settings) -> str:
    link = setup_link(settings)
    assert link is not None
    return link.removeprefix(settings.public_url)


def send(visitor: Visitor, path: str, **typed: str) -> Page:
    return visitor.send(visitor.open(path), "/set-up", {**ADA, **typed})


def test_it_creates_the_administrator_who_then_signs_in(app: APIFlask, settings: Settings) -> None:
    visitor = Visitor(app)
    page = visitor.follow(send(visitor, new_path(settings)))
    assert page.alerts == ["The administrator is created. Sign in."]
    answer = visitor.send(page, "/sign-in", {"email": "ada@test.example", "password": PASSWORD})
    assert "Ada Admin" in visitor.follow(answer).text
    user = db.session.query(User).one()
    assert (user.role, user.email) == ("admin", "ada@test.example")


def test_it_answers_once(app: APIFlask, settings: Settings) -> None:
    path = new_path(settings)
    first, second = Visitor(app), Visitor(app)
    page = second.open(path)
    send(first, path)
    assert second.send(page, "/set-up", {**ADA, "email": "eve@test.example"}).status == 404
    assert first.request("GET", path).status == 404
    assert setup_link(settings) is None
    assert count(User) == 1
    with transaction() as session:  # the page opens again, but not with this link
        session.query(User).one().deactivated_at = datetime.now(UTC)
    assert first.request("GET", path).status == 403


def test_it_needs_the_link_that_was_issued_last(app: APIFlask, settings: Settings) -> None:
    visitor = Visitor(app)
    assert visitor.request("GET", "/set-up?token=anything").status == 403
    old, new = new_path(settings), new_path(settings)
    page = visitor.open(new)
    for path in ("/set-up", "/set-up?token=", "/set-up?token=x", "/set-up?token=%00", old):
        refused = visitor.request("GET", path)
        assert refused.status == 403
        assert "This set-up link is used or outdated." in refused.text
        data = {**page.values("/set-up"), **ADA}
        assert visitor.request("POST", path, data=data).status == 403
    assert count(User) == 0


def test_a_link_issued_meanwhile_makes_the_open_form_worthless(
    app: APIFlask, settings: Settings
) -> None:
    visitor = Visitor(app)
    page = visitor.open(new_path(settings))
    with transaction():
        issue_setup_token()
    assert visitor.send(page, "/set-up", ADA).status == 403
    assert count(User) == 0


def test_it_says_what_is_wrong_beside_the_field(app: APIFlask, settings: Settings) -> None:
    visitor, path = Visitor(app), new_path(settings)
    for typed, field, error in (
        ({"name": ""}, "name", "Write your name."),
        ({"name": "   "}, "name", "Write your name."),
        ({"name": "x" * 201}, "name", "Write at most 200 characters."),
        ({"name": "A\0da"}, "name", "Use printable characters only."),
        ({"email": ""}, "email", "Write an e-mail address."),
        ({"email": "ada"}, "email", "Write an e-mail address, such as ada@example.com."),
        ({"email": "a@b@c"}, "email", "Write an e-mail address, such as ada@example.com."),
        ({"email": f"{'a' * 300}@test.example"}, "email", "Write at most 254 characters."),
        ({"email": "ada\0@test.example"}, "email", "Use printable characters only."),
        ({"email": "ada@nowhere"}, "email", None),
        ({"password": "short"}, "password", "Choose a password of 12 to 256 characters."),
        ({"password": "x" * 257}, "password", "Choose a password of 12 to 256 characters."),
        ({"password": ""}, "password", "Choose a password."),
        ({"password_again": "another"}, "password_again", None),
        ({"password_again": ""}, "password_again", "Write the password a second time."),
    ):
        page = send(visitor, path, **typed)
        found = page.error("/set-up", field)
        assert page.status == 422, typed
        assert found == error if error else found, typed
        shown = page.values("/set-up")
        kept = {**ADA, **typed, "password": "", "password_again": ""}
        kept["name"] = kept["name"].strip()
        if "\0" not in kept["name"] + kept["email"]:
            assert {name: shown[name] for name in kept} == kept
    assert count(User) == 0


def test_it_says_that_the_address_is_taken(app: APIFlask, settings: Settings) -> None:
    create_user(role=Role.PROVIDER, email="taken@test.example")
    page = send(Visitor(app), new_path(settings), email="Taken@test.example")
    assert page.status == 422
    assert page.alerts == ["There is an account for taken@test.example already."]
    assert page.values("/set-up")["name"] == "Ada"
    assert count(User) == 1
