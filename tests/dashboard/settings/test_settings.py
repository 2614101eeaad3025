"""The settings: profile, password, sessions, system health; who may open what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask

from billtrack.accounts.users.models import User, UserSession
from billtrack.accounts.users.permissions import Role
from billtrack.notifications import mail
from billtrack.notifications.mail.operations import Recipient, mark_failed, note_attempt
from billtrack.platform.audit.models import AuditEntry, AuditPersonalValue
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.installation.operations import beat
from tests.cast import PASSWORD, SYSTEM, Cast, Member, create_user
from tests.dashboard.page import Page, Visitor, create_session, text_of

pytestmark = pytest.mark.one_database

ROLES = ("admin", "manager", "provider", "customer")
PAGES = {
    "/settings/profile": (200, 200, 200, 200),
    "/settings/sessions": (200, 200, 200, 200),
    "/settings/api-keys": (200, 200, 200, 200),
    "/settings/api-keys/new": (200, 200, 200, 200),
    "/settings/accounts": (200, 200, 403, 403),
    "/settings/audit": (200, 403, 403, 403),
    "/settings/health": (200, 403, 403, 403),
}
FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
NEW = "another horse, another battery"


@pytest.fixture
def ada(app: APIFlask) -> User:
    return create_user(role=Role.MANAGER, email="ada@test.example", password=PASSWORD)


def signed_in(app: APIFlask, user: User, password: str = PASSWORD) -> Visitor:
    visitor = Visitor(app)
    typed = {"email": user.email, "password": password}
    assert visitor.send(visitor.open("/sign-in"), "/sign-in", typed).status == 303
    return visitor


def member(cast: Cast, role: str) -> Member:
    found: Member = getattr(cast, role)
    return found


def reload(user: User) -> User:
    db.session.rollback()
    db.session.expire_all()
    return db.session.get_one(User, user.id)


def change_password(visitor: Visitor, **typed: Any) -> Page:
    given = {"current_password": PASSWORD, "password": NEW, "password_again": NEW, **typed}
    return visitor.send(visitor.open("/settings/profile"), "/settings/password", given)


@pytest.mark.parametrize("role", ROLES)
def test_it_opens_to_each_role_what_the_table_says(app: APIFlask, cast: Cast, role: str) -> None:
    visitor = Visitor(app, member(cast, role))
    number = ROLES.index(role)
    assert {path: visitor.request("GET", path).status for path in PAGES} == {
        path: statuses[number] for path, statuses in PAGES.items()
    }
    page = visitor.open("/settings/profile")
    tabs = [text_of(a) for nav in page.all("nav", aria_label="Settings") for a in nav.iter("a")]
    more = {"admin": ["Accounts", "Audit log", "System health"], "manager": ["Accounts"]}
    assert tabs == ["Profile", "Sessions", "API keys", *more.get(role, [])]
    (current,) = page.all("a", class_="nav-link", aria_current="page")
    assert current.attrib["href"] == "/settings"
    assert visitor.open("/settings", 303).location == "/settings/profile"


def test_it_asks_a_visitor_to_sign_in(app: APIFlask) -> None:
    visitor = Visitor(app)
    for path in PAGES:
        assert "/sign-in" in (visitor.open(path, 303).location or "")


@pytest.mark.parametrize("role", ROLES)
def test_it_saves_ones_own_name_and_address(app: APIFlask, cast: Cast, role: str) -> None:
    who = member(cast, role)
    visitor = Visitor(app, who)
    typed = {"name": "  Zoë <i>& Co</i> ", "email": "Zoe@Test.Example"}
    answer = visitor.send(visitor.open("/settings/profile"), "/settings/profile", typed)
    page = visitor.follow(answer)
    assert page.alerts == ["Your profile is saved."]
    assert page.values("/settings/profile")["name"] == "Zoë <i>& Co</i>"
    saved = reload(who.user)
    assert (saved.name, saved.email) == ("Zoë <i>& Co</i>", "zoe@test.example")
    entry = db.session.query(AuditEntry).filter(AuditEntry.action == "user.updated").one()
    assert (entry.actor_user_id, entry.object_id, entry.changes) == (who.id, who.id, {})
    values = {v.field: v.value for v in db.session.query(AuditPersonalValue)
              if v.entry_id == entry.id}  # fmt: skip
    assert values["email"] == "zoe@test.example"
    assert values["name"] == "Zoë <i>& Co</i>"


def test_it_never_saves_the_profile_of_another(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.customer)
    page = visitor.open("/settings/profile")
    typed = {"name": "Mine", "email": "mine@test.example", "id": cast.admin.id, "user_id": "1"}
    visitor.send(page, "/settings/profile", typed)
    assert reload(cast.admin.user).name == "Admin"
    assert reload(cast.customer.user).name == "Mine"


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("name", "", "Write your name."),
        ("name", "   ", "Write your name."),
        ("name", "x" * 201, "Write at most 200 characters."),
        ("name", "nul\0", "Use printable characters only."),
        ("email", "", "Write an e-mail address."),
        ("email", "nul\0@test.example", "Use printable characters only."),
        (
            "email",
            "stranger@test.example",
            "There is an account for stranger@test.example already.",
        ),
        (
            "email",
            "STRANGER@test.example",
            "There is an account for stranger@test.example already.",
        ),
    ],
)
def test_it_keeps_what_was_typed_and_says_what_is_wrong(
    app: APIFlask, cast: Cast, field: str, value: str, error: str
) -> None:
    visitor = Visitor(app, cast.customer)
    typed = {"name": "Typed", "email": "typed@test.example", field: value}
    page = visitor.send(visitor.open("/settings/profile"), "/settings/profile", typed)
    assert (page.status, page.error("/settings/profile", field)) == (422, error)
    other = "email" if field == "name" else "name"
    assert page.values("/settings/profile")[other] == typed[other]
    assert reload(cast.customer.user).name == "Customer"


def test_it_refuses_an_address_that_is_none(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.customer)
    page = visitor.send(
        visitor.open("/settings/profile"), "/settings/profile", {"email": "no address"}
    )
    assert page.status == 422
    assert page.error("/settings/profile", "email")


def test_it_changes_the_password_and_signs_out_every_other_browser(
    app: APIFlask, ada: User
) -> None:
    here, there, thief = signed_in(app, ada), signed_in(app, ada), Visitor(app)
    before = here.cookie
    assert before is not None
    thief.client.set_cookie("billtrack_session", before)
    assert thief.request("GET", "/settings/profile").status == 200
    answer = change_password(here)
    assert here.follow(answer).alerts == [
        "Your password is changed. Every other browser is signed out."
    ]
    assert here.cookie != before
    assert there.request("GET", "/settings/profile").status == 303
    assert thief.request("GET", "/settings/profile").status == 303
    assert signed_in(app, ada, NEW).request("GET", "/").status == 200


@pytest.mark.parametrize(
    ("typed", "field", "error"),
    [
        ({"current_password": "wrong"}, "current_password", "This is not your current password."),
        ({"current_password": ""}, "current_password", "Write your current password."),
        (
            {"password": "short", "password_again": "short"},
            "password",
            "Choose a password of 12 to 256 characters.",
        ),
        (
            {"password_again": "something else"},
            "password_again",
            "The two passwords differ. Write them again.",
        ),
    ],
)
def test_it_refuses_a_password_and_leaves_everybody_signed_in(
    app: APIFlask, ada: User, typed: dict[str, str], field: str, error: str
) -> None:
    here, there = signed_in(app, ada), signed_in(app, ada)
    page = change_password(here, **typed)
    assert (page.status, page.error("/settings/password", field)) == (422, error)
    assert NEW not in page.source
    assert PASSWORD not in page.source
    assert page.values("/settings/profile")["email"] == ada.email
    assert there.request("GET", "/settings/profile").status == 200
    assert reload(ada).password_hash == ada.password_hash


def test_it_lists_the_browsers_and_marks_this_one(app: APIFlask, cast: Cast) -> None:
    create_session(cast.customer, user_agent=FIREFOX, address="192.0.2.7")
    create_session(cast.stranger, user_agent="of a stranger", address="198.51.100.1")
    old = datetime.now(UTC) - timedelta(days=1)
    create_session(cast.customer, user_agent="idle", seen_at=old)
    page = Visitor(app, cast.customer).open("/settings/sessions")
    rows = page.table("signed in")
    assert [row[:2] for row in rows] == [
        ["An unknown browser this one", "unknown"],
        ["Firefox on Windows", "192.0.2.7"],
    ]
    assert [row[-1].startswith("Sign out") for row in rows] == [False, True]


def test_it_shows_what_a_browser_says_of_itself_as_text(app: APIFlask, cast: Cast) -> None:
    create_session(cast.customer, user_agent='"><script>x()</script>', address="<b>")
    page = Visitor(app, cast.customer).open("/settings/sessions")
    assert "<script>x()" not in page.source
    assert page.table("signed in")[1][1] == "<b>"


def test_it_signs_out_one_browser(app: APIFlask, cast: Cast) -> None:
    here, there = Visitor(app, cast.customer), Visitor(app, cast.customer)
    page = here.open("/settings/sessions")
    (action,) = {f.get("action", "") for f in page.all("form")} & {
        f"/settings/sessions/{row.id}/revoke" for row in db.session.query(UserSession)
    }
    assert here.follow(here.send(page, action)).alerts == ["That browser is signed out."]
    assert there.request("GET", "/settings/sessions").status == 303
    assert here.request("GET", "/settings/sessions").status == 200


@pytest.mark.parametrize("role", ROLES)
def test_it_knows_no_session_of_another(app: APIFlask, cast: Cast, role: str) -> None:
    create_session(cast.stranger)
    foreign = db.session.query(UserSession).one().id
    visitor = Visitor(app, member(cast, role))
    token = visitor.open("/settings/sessions").values("/sign-out")["csrf_token"]
    for session_id in (foreign, 999_999):
        path = f"/settings/sessions/{session_id}/revoke"
        assert visitor.request("POST", path, data={"csrf_token": token}).status == 404
    db.session.rollback()
    db.session.expire_all()
    assert db.session.get_one(UserSession, foreign).revoked_at is None


def test_it_signs_out_everywhere_else(app: APIFlask, cast: Cast) -> None:
    here = Visitor(app, cast.customer)
    others = [Visitor(app, cast.customer) for _ in range(2)]
    stranger = Visitor(app, cast.stranger)
    page = here.open("/settings/sessions")
    answer = here.send(page, "/settings/sessions/revoke-others")
    after = here.follow(answer)
    assert after.alerts == ["2 other sign-ins have ended."]
    assert len(after.table("signed in")) == 1
    assert "/settings/sessions/revoke-others" not in after.source
    assert {other.request("GET", "/settings/sessions").status for other in others} == {303}
    assert stranger.request("GET", "/settings/sessions").status == 200


def test_it_signs_out_everywhere(app: APIFlask, cast: Cast) -> None:
    here, other = Visitor(app, cast.customer), Visitor(app, cast.customer)
    stranger = Visitor(app, cast.stranger)
    before = here.cookie
    assert before is not None
    page = here.open("/settings/sessions")
    after = here.follow(here.send(page, "/settings/sessions/revoke-all"))
    assert (after.path, after.alerts) == ("/sign-in", ["You are signed out everywhere."])
    here.client.set_cookie("billtrack_session", before)
    for visitor in (here, other):
        assert visitor.request("GET", "/settings/sessions").status == 303
    assert stranger.request("GET", "/settings/sessions").status == 200


def test_it_takes_no_form_without_its_token(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.admin)
    create_session(cast.admin)
    ids = [row.id for row in db.session.query(UserSession)]
    data = {"name": "x", "email": "x@test.example", "scopes": "quote", "expires": "30"}
    for path in (
        "/settings/profile",
        "/settings/password",
        f"/settings/sessions/{ids[0]}/revoke",
        "/settings/sessions/revoke-others",
        "/settings/sessions/revoke-all",
        "/settings/api-keys",
        "/settings/api-keys/1/revoke",
    ):
        assert visitor.client.post(path, data=data).status_code == 400, path
    assert reload(cast.admin.user).name == "Admin"
    assert db.session.query(UserSession).filter(UserSession.revoked_at.isnot(None)).count() == 0


def test_it_tells_an_administrator_how_every_part_is(app: APIFlask, cast: Cast) -> None:
    now = datetime.now(UTC)
    with transaction():
        beat("worker-alive", now=now)
        beat("worker-silent", now=now - timedelta(minutes=2))
    page = Visitor(app, cast.admin).open("/settings/health")
    parts = [text_of(row) for row in page.card("Parts").iter("li")]
    product = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[db.engine.dialect.name]
    assert parts[0].startswith(f"Database {product} ")
    assert "Up to date" in parts[1]
    assert [part.split()[-1] for part in parts[2:4]] == ["OK", "Running"]
    assert [(row[0], row[-1]) for row in page.table("Worker processes")] == [
        ("worker-alive", "Running"),
        ("worker-silent", "Not seen"),
    ]
    assert "All OK" in page.text
    assert "Billing time zone UTC" in page.text


def test_it_says_what_to_do_when_parts_are_down(
    app: APIFlask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "billtrack.dashboard.settings.system_health.views.queue_is_reachable", lambda: False
    )
    monkeypatch.setattr("billtrack.platform.installation.parts._newest_migration", lambda: "9999")
    page = Visitor(app, cast.admin).open("/settings/health")
    parts = [text_of(row) for row in page.card("Parts").iter("li")]
    assert "Outdated This version needs migration 9999. Run: billtrack init" in parts[1]
    assert "Unreachable Nothing is lost" in parts[2]
    assert "Not running Reports wait until one runs." in parts[3]
    assert "Needs attention" in page.text


def test_it_shows_no_secret_of_the_installation(app: APIFlask, cast: Cast) -> None:
    page = Visitor(app, cast.admin).open("/settings/health")
    assert app.config["SECRET_KEY"] not in page.source
    assert "postgresql+psycopg" not in page.source


def test_it_says_where_letters_go_and_that_some_wait(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.admin)
    assert mail_part(visitor).startswith("Mail ")
    assert "/mail · set BILLTRACK_SMTP_URL to send letters Not sending" in mail_part(visitor)
    now = datetime.now(UTC)
    to = Recipient(cast.customer.id, "customer@test.example", "Customer")
    with transaction():
        letter = mail.queue("password_reset", actor=SYSTEM, now=now, to=to, context={})
        note_attempt(letter.id, error="The disk is full.")
    assert "1 waiting" in mail_part(visitor)
    assert "Failing Mail is retried" in mail_part(visitor)
    assert "The disk is full." in mail_part(visitor)
    with transaction():
        mark_failed(letter.id, error="The disk is full.", now=now)
    assert "1 given up this week" in mail_part(visitor)
    assert "Failing" not in mail_part(visitor)


def mail_part(visitor: Visitor) -> str:
    page = visitor.open("/settings/health")
    (found,) = (
        t for row in page.card("Parts").iter("li") if (t := text_of(row)).startswith("Mail")
    )
    return found
