"""Signing in and out; what a session is worth, and for how long."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from apiflask import APIFlask
from argon2 import PasswordHasher
from sqlalchemy import update

from billtrack.accounts.sign_in.authentication import SignInRefused, verify_sign_in
from billtrack.accounts.sign_in.sessions import IDLE_LIMIT, LIFETIME
from billtrack.accounts.sign_in.throttle import MOST_HERE
from billtrack.accounts.users import passwords
from billtrack.accounts.users.models import User, UserSession
from billtrack.accounts.users.permissions import Role
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.cast import PASSWORD, Cast, create_user
from tests.dashboard.page import Page, Visitor, count, create_session

pytestmark = pytest.mark.one_database

WRONG = "The e-mail address or the password is wrong."


@pytest.fixture
def ada(app: APIFlask) -> User:
    return create_user(role=Role.MANAGER, email="ada@test.example", password=PASSWORD)


def sign_in(visitor: Visitor, email: str, password: str = PASSWORD, *, next_: str = "") -> Page:
    page = visitor.open("/sign-in" + (f"?next={next_}" if next_ else ""))
    return visitor.send(page, "/sign-in", {"email": email, "password": password})


def try_password(email: str) -> None:
    verify_sign_in(email=email, password="wrong horse battery")


def deactivate(user: User) -> None:
    with transaction() as session:
        session.get_one(User, user.id).deactivated_at = datetime.now(UTC)


def test_it_lets_in_who_knows_the_password(app: APIFlask, ada: User) -> None:
    for typed in ("ada@test.example", "  Ada@Test.Example "):
        visitor = Visitor(app)
        answer = sign_in(visitor, typed)
        assert answer.location == "/"
        assert "ada Manager" in visitor.follow(answer).text


def test_it_says_the_same_whatever_is_wrong(app: APIFlask, ada: User) -> None:
    deactivate(create_user(email="gone@test.example", password=PASSWORD))
    create_user(email="keys-only@test.example")
    visitor = Visitor(app)
    for email, password in (
        ("ada@test.example", "wrong horse battery staple"),
        ("ada@test.example", PASSWORD + " "),
        ("ada@test.example", PASSWORD.upper()),
        ("nobody@test.example", PASSWORD),
        ("' OR 1=1 --", PASSWORD),
        ("gone@test.example", PASSWORD),
        ("keys-only@test.example", PASSWORD),
        ("keys-only@test.example", "None"),
    ):
        page = sign_in(visitor, email, password)
        assert (page.status, page.alerts) == (401, [WRONG]), email
        assert page.values("/sign-in")["email"] == email
        assert page.values("/sign-in")["password"] == ""
    assert count(UserSession) == 0
    assert visitor.request("GET", "/usage").status == 303


def test_it_says_what_is_wrong_beside_the_field(app: APIFlask, ada: User) -> None:
    visitor = Visitor(app)
    for typed, field, error in (
        ({"email": ""}, "email", "Write your e-mail address."),
        ({"email": "a" * 300}, "email", "Write at most 254 characters."),
        ({"email": "ada\0@test.example"}, "email", "Use printable characters only."),
        ({"password": ""}, "password", "Write your password."),
        ({"password": "x" * 300}, "password", "Write at most 256 characters."),
    ):
        data = {"email": "ada@test.example", "password": PASSWORD, **typed}
        page = visitor.send(visitor.open("/sign-in"), "/sign-in", data)
        assert (page.status, page.error("/sign-in", field)) == (422, error)
    assert count(UserSession) == 0


def test_it_bears_a_missing_field_and_an_odd_password(app: APIFlask, ada: User) -> None:
    visitor = Visitor(app)
    token = visitor.open("/sign-in").values("/sign-in")["csrf_token"]
    data = {"csrf_token": token, "email": "ada@test.example", "password": "nul \0 \ud7ff"}
    assert visitor.request("POST", "/sign-in", data=data).status == 401
    for name in ("email", "password"):
        rest = {key: value for key, value in data.items() if key != name}
        assert visitor.request("POST", "/sign-in", data=rest).status == 422


def test_it_goes_on_to_the_page_that_was_asked_for(app: APIFlask, ada: User) -> None:
    for asked in ("/usage", "/usage?event=api_calls&from=2026-11-01", "/customers?q=%C3%A9%25"):
        visitor = Visitor(app)
        first = visitor.request("GET", asked)
        assert first.status == 303
        assert first.location is not None
        page = visitor.open(first.location)
        answer = visitor.send(page, "/sign-in", {"email": ada.email, "password": PASSWORD})
        assert answer.location == asked
        assert visitor.request("GET", first.location).location == asked


def test_it_never_leads_elsewhere(app: APIFlask, ada: User) -> None:
    for next_ in (
        "https://evil.example/",
        "https:evil.example",
        "//evil.example",
        "///evil.example",
        "/%5Cevil.example",
        "%5C%5Cevil.example",
        "/%09/evil.example",
        "%09//evil.example",
        "/%0D%0ALocation:%20https://evil.example",
        "%20//evil.example",
        "javascript:alert(1)",
        "evil.example",
        "//[",
        "/%5C[",
        "/%E2%80%AE",
        "//evil.example%00",
    ):
        visitor = Visitor(app)
        assert sign_in(visitor, ada.email, next_=next_).location == "/", next_
        assert visitor.request("GET", f"/sign-in?next={next_}").location == "/", next_


def test_it_starts_a_new_session_so_that_a_planted_cookie_is_worthless(
    app: APIFlask, ada: User, cast: Cast
) -> None:
    planter, victim = Visitor(app), Visitor(app)
    token = planter.open("/sign-in").values("/sign-in")["csrf_token"]
    planted = planter.cookie
    assert planted is not None
    victim.client.set_cookie("billtrack_session", planted)
    sign_in(victim, ada.email)
    assert victim.cookie != planted
    assert victim.request("GET", "/usage").status == 200
    assert victim.request("POST", "/sign-out", data={"csrf_token": token}).status == 400
    assert planter.cookie == planted
    assert planter.request("GET", "/usage").status == 303


def test_it_gives_a_new_cookie_to_who_signs_in_over_the_session_of_another(
    app: APIFlask, ada: User, cast: Cast
) -> None:
    token = create_session(cast.customer)
    attacker, victim = Visitor(app), Visitor(app)
    attacker.plant(token)
    victim.open("/sign-in")
    page = victim.open("/sign-in")
    victim.send(page, "/sign-in", {"email": ada.email, "password": PASSWORD})
    assert "ada Manager" in victim.open("/").text
    assert "Manager" not in attacker.open("/usage").text


def test_it_stores_a_digest_of_the_secret_only(app: APIFlask, ada: User) -> None:
    visitor = Visitor(app)
    sign_in(visitor, ada.email)
    with app.app_context(), visitor.client.session_transaction() as cookie:
        secret = cookie["sid"]
    stored = db.session.query(UserSession).one()
    assert secret not in {stored.token_hash, str(stored.id)}
    assert len(secret) >= 43


def test_it_keeps_the_cookie_from_scripts_and_other_sites(app: APIFlask, ada: User) -> None:
    answer = sign_in(Visitor(app), ada.email).answer
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie


def test_it_ends_the_session_for_good_at_sign_out(app: APIFlask, cast: Cast) -> None:
    visitor, thief = Visitor(app, cast.customer), Visitor(app)
    stolen = visitor.cookie
    assert stolen is not None
    thief.client.set_cookie("billtrack_session", stolen)
    page = visitor.open("/usage")
    assert thief.request("GET", "/usage").status == 200
    assert visitor.send(page, "/sign-out").location == "/sign-in"
    assert visitor.request("GET", "/usage").status == 303
    assert thief.request("GET", "/usage").status == 303
    assert db.session.query(UserSession).one().revoked_at is not None


def test_it_ends_only_this_session_at_sign_out(app: APIFlask, cast: Cast) -> None:
    here, there = Visitor(app, cast.customer), Visitor(app, cast.customer)
    here.send(here.open("/usage"), "/sign-out")
    assert there.request("GET", "/usage").status == 200


def test_it_signs_out_by_a_form_only(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.customer)
    assert visitor.request("GET", "/sign-out").status == 405
    assert visitor.request("GET", "/usage").status == 200


def test_it_forgets_who_was_idle_or_away_too_long(app: APIFlask, cast: Cast) -> None:
    for column, age, status in (
        ("seen_at", IDLE_LIMIT + timedelta(minutes=1), 303),
        ("seen_at", IDLE_LIMIT - timedelta(minutes=1), 200),
        ("expires_at", timedelta(seconds=1), 303),
        ("expires_at", -timedelta(minutes=1), 200),
        ("revoked_at", timedelta(), 303),
    ):
        visitor = Visitor(app, cast.manager)
        with transaction() as session:
            session.execute(update(UserSession).values({column: datetime.now(UTC) - age}))
        assert visitor.request("GET", "/usage").status == status, (column, age)


def test_it_notes_at_most_once_a_minute_that_a_session_is_in_use(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.manager)
    before = db.session.query(UserSession).one().seen_at
    visitor.open("/usage")
    db.session.rollback()
    db.session.expire_all()
    assert db.session.query(UserSession).one().seen_at == before
    with transaction() as session:
        session.execute(update(UserSession).values(seen_at=before - timedelta(hours=1)))
    visitor.open("/usage")
    db.session.rollback()
    db.session.expire_all()
    assert db.session.query(UserSession).one().seen_at >= before


def test_it_shuts_out_who_is_deactivated_meanwhile(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.manager)
    assert visitor.request("GET", "/usage").status == 200
    deactivate(cast.manager.user)
    assert visitor.request("GET", "/usage").status == 303


def test_it_lets_a_session_live_for_the_time_that_its_cookie_has(app: APIFlask, ada: User) -> None:
    answer = sign_in(Visitor(app), ada.email).answer
    row = db.session.query(UserSession).one()
    assert row.expires_at - row.created_at == LIFETIME
    assert "Expires=" in answer.headers["Set-Cookie"]


def test_it_takes_no_cookie_that_it_did_not_make(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app)
    for value in ("", "x", "eyJzaWQiOiJ4In0.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb"):
        visitor.client.set_cookie("billtrack_session", value)
        assert visitor.request("GET", "/usage").status == 303
    for secret in (None, 1, ["x"], {"a": 1}, "unknown"):
        with app.app_context(), visitor.client.session_transaction() as cookie:
            cookie["sid"] = secret
        assert visitor.request("GET", "/usage").status == 303


def test_it_sends_an_htmx_request_of_an_ended_session_to_sign_in(app: APIFlask, cast: Cast) -> None:
    answer = Visitor(app).request("GET", "/customers?q=a", headers={"HX-Request": "true"})
    assert answer.status == 204
    assert answer.answer.headers["HX-Redirect"] == "/sign-in?next=%2Fcustomers%3Fq%3Da"


def test_it_sends_who_is_signed_in_on_to_the_start_page(app: APIFlask, cast: Cast) -> None:
    assert Visitor(app, cast.customer).request("GET", "/sign-in").location == "/"


def test_it_pauses_after_some_tries_and_says_for_how_long(app: APIFlask, ada: User) -> None:
    visitor = Visitor(app)
    for _ in range(MOST_HERE):
        assert sign_in(visitor, "ada@test.example", "wrong horse battery").status == 401
    page = sign_in(visitor, "ada@test.example")
    assert (page.status, page.alerts) == (429, ["Too many tries. Try again in 15 minutes."])
    assert 0 < int(page.answer.headers["Retry-After"]) <= 900
    assert page.values("/sign-in")["email"] == "ada@test.example"
    assert [sign_in(visitor, "nobody@test.example").status for _ in range(MOST_HERE + 1)] == [
        *([401] * MOST_HERE),
        429,
    ]


def test_who_knows_the_password_is_never_paused(app: APIFlask, ada: User) -> None:
    for _ in range(MOST_HERE + 3):
        assert sign_in(Visitor(app), "ada@test.example").location == "/"


@pytest.fixture
def full_cost(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Hash passwords as the product does."""
    monkeypatch.setattr(passwords, "_hasher", PasswordHasher())
    passwords._nobody.cache_clear()
    yield
    passwords._nobody.cache_clear()


def test_the_time_tells_nothing_about_an_account(app: APIFlask, full_cost: None, ada: User) -> None:
    taken: dict[str, list[float]] = {"ada@test.example": [], "nobody@test.example": []}
    for _ in range(MOST_HERE):
        for email, times in taken.items():
            started = time.process_time()
            with pytest.raises(SignInRefused):
                try_password(email)
            times.append(time.process_time() - started)
    known, unknown = (min(times) for times in taken.values())
    assert known > 0.01
    assert 1 / 3 < known / unknown < 3
