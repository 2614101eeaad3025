"""Signing programs in: a pair of tokens, the next pair for a refresh token, and its end."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from billtrack.accounts.sign_in import throttle
from billtrack.accounts.sign_in.password_changes import set_password
from billtrack.accounts.users.models import RefreshToken, TokenFamily, User
from billtrack.accounts.users.passwords import hash_password
from billtrack.accounts.users.permissions import Role
from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.db import transaction
from billtrack.platform.driver import ask_driver, is_postgresql
from billtrack.platform.extensions import db
from tests.cast import PASSWORD, SYSTEM, Member, create_user, sign_in
from tests.dashboard.page import Visitor
from tests.scenarios.harness import eventually

pytestmark = pytest.mark.one_database

TOKEN = "/api/v1/auth/token"
WAITING = (
    "SELECT count(*) FROM pg_stat_activity"
    " WHERE datname = current_database() AND wait_event_type = 'Lock'"
)
NEW_PASSWORD = "another quite long passphrase"


@pytest.fixture
def user(app: APIFlask) -> User:
    """A provider with a password."""
    return create_user(role=Role.PROVIDER, password=PASSWORD)


def post(app: APIFlask, path: str, body: dict[str, Any]) -> TestResponse:
    with app.app_context():  # a reading of its own, as every request has
        client = app.test_client(use_cookies=False)
        return client.post(path, json=body, headers={"User-Agent": "collector/1.0"})


def start(app: APIFlask, user: User) -> dict[str, Any]:
    answer = post(app, TOKEN, {"email": user.email, "password": PASSWORD})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.get_json()
    return body


def refresh(app: APIFlask, pair: dict[str, Any]) -> TestResponse:
    return post(app, f"{TOKEN}/refresh", {"refresh_token": pair["refresh_token"]})


def opens(app: APIFlask, pair: dict[str, Any]) -> bool:
    headers = {"Authorization": f"Bearer {pair['access_token']}"}
    with app.app_context():
        return (
            app.test_client(use_cookies=False).get("/api/v1/me", headers=headers).status_code == 200
        )


def actions() -> list[str]:
    db.session.rollback()
    query = db.session.query(AuditEntry.action).filter(AuditEntry.action.like("token.%"))
    return [action for (action,) in query.order_by(AuditEntry.id)]


def test_it_signs_in_and_goes_on_with_refresh_tokens(app: APIFlask, user: User) -> None:
    first = start(app, user)
    assert (first["token_type"], first["expires_in"]) == ("Bearer", 900)
    second = refresh(app, first).get_json()
    third = refresh(app, second).get_json()
    assert len({pair["refresh_token"] for pair in (first, second, third)}) == 3
    assert all(opens(app, pair) for pair in (first, second, third))
    # Nothing makes it longer than 30 days from signing in.
    assert first["refresh_expires_at"] == third["refresh_expires_at"]
    family = db.session.query(TokenFamily).one()
    assert family.expires_at - family.created_at == timedelta(days=30)
    assert family.user_agent == "collector/1.0"
    assert actions() == ["token.issued", "token.renewed", "token.renewed"]


def test_it_answers_so_that_nobody_keeps_it(app: APIFlask, user: User) -> None:
    answer = post(app, TOKEN, {"email": user.email, "password": PASSWORD})
    assert answer.headers["Cache-Control"] == "no-store"
    assert "Set-Cookie" not in answer.headers
    body = answer.get_json()
    stored = [str(vars(row)) for model in (RefreshToken, TokenFamily, AuditEntry)
              for row in db.session.query(model)]  # fmt: skip
    for secret in (body["refresh_token"], body["access_token"], PASSWORD):
        assert secret not in "".join(stored)


def test_it_ends_the_family_when_a_token_comes_again(app: APIFlask, user: User) -> None:
    stolen = start(app, user)
    other = start(app, user)
    thief = refresh(app, stolen).get_json()
    again = refresh(app, stolen)
    assert (again.status_code, again.get_json()["code"]) == (401, "token_refused")
    assert not opens(app, stolen)
    assert not opens(app, thief)
    assert refresh(app, thief).status_code == 401
    assert opens(app, other)
    assert refresh(app, other).status_code == 200
    assert actions().count("token.reused") == 1


def test_it_notices_an_old_token_long_after(app: APIFlask, user: User) -> None:
    first = pair = start(app, user)
    for _ in range(4):
        pair = refresh(app, pair).get_json()
    assert refresh(app, first).status_code == 401
    assert refresh(app, pair).status_code == 401


@pytest.mark.by_chance
@pytest.mark.both_databases
def test_it_lets_one_of_two_at_once_through_and_then_neither(app: APIFlask, user: User) -> None:
    pair = start(app, user)
    db.session.rollback()
    many = 4
    barrier = threading.Barrier(many)

    def run(_: int) -> TestResponse:
        barrier.wait()
        return refresh(app, pair)

    with ThreadPoolExecutor(many) as pool:
        answers = list(pool.map(run, range(many)))
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * (many - 1)
    (winner,) = (answer.get_json() for answer in answers if answer.status_code == 200)
    assert not opens(app, winner)
    assert refresh(app, winner).status_code == 401
    assert db.session.query(RefreshToken).count() == 2


def test_it_signs_out(app: APIFlask, user: User) -> None:
    first = start(app, user)
    second = refresh(app, first).get_json()
    for _ in range(2):
        answer = post(app, f"{TOKEN}/revoke", {"refresh_token": second["refresh_token"]})
        assert (answer.status_code, answer.get_json()) == (200, {"status": "revoked"})
    assert not opens(app, first)
    assert not opens(app, second)
    assert refresh(app, second).status_code == 401
    assert actions().count("token.revoked") == 1
    unknown = post(app, f"{TOKEN}/revoke", {"refresh_token": "nobody"})
    assert (unknown.status_code, unknown.get_json()) == (200, {"status": "revoked"})


def test_it_takes_no_other_credential_for_a_refresh_token(app: APIFlask, user: User) -> None:
    pair = start(app, user)
    for text in (pair["access_token"], "bt_refresh_nobody", "\0", "é", " "):
        answer = post(app, f"{TOKEN}/refresh", {"refresh_token": text})
        assert answer.status_code in {401, 422}, text
    assert refresh(app, pair).status_code == 200


def test_it_ends_with_the_password(app: APIFlask, user: User) -> None:
    pair = start(app, user)
    hashed = hash_password(NEW_PASSWORD)
    with transaction():
        set_password(
            user.id,
            password=hashed,
            keep_session_id=None,
            actor=SYSTEM,
            now=datetime.now(UTC),
        )
    assert refresh(app, pair).status_code == 401
    assert not opens(app, pair)


@pytest.mark.both_databases
def test_it_ends_what_is_opened_while_the_password_changes(app: APIFlask, user: User) -> None:
    hashed = hash_password(NEW_PASSWORD)
    with ThreadPoolExecutor(1) as pool:
        with transaction():
            set_password(
                user.id,
                password=hashed,
                keep_session_id=None,
                actor=SYSTEM,
                now=datetime.now(UTC),
            )
            db.session.flush()
            body = {"email": user.email, "password": PASSWORD}
            late = pool.submit(post, app, TOKEN, body)
            if is_postgresql():  # there it reads the password before, and waits with it
                eventually(lambda: ask_driver(WAITING, {})[0][0], "it waits for the account")
        assert late.result().status_code == 401
    assert db.session.query(TokenFamily).count() == 0


@pytest.mark.parametrize("ending", ["expires_at", "revoked_at"])
def test_it_refuses_what_has_ended(app: APIFlask, user: User, ending: str) -> None:
    pair = start(app, user)
    with transaction() as session:
        setattr(session.query(TokenFamily).one(), ending, datetime.now(UTC))
    assert refresh(app, pair).status_code == 401


def test_it_refuses_a_deactivated_account(app: APIFlask, user: User) -> None:
    pair = start(app, user)
    with transaction() as session:
        session.get_one(User, user.id).deactivated_at = datetime.now(UTC)
    assert refresh(app, pair).status_code == 401
    assert post(app, TOKEN, {"email": user.email, "password": PASSWORD}).status_code == 401


def test_it_forgets_families_that_are_over(app: APIFlask, user: User) -> None:
    start(app, user)
    with transaction() as session:
        session.query(TokenFamily).one().expires_at = datetime.now(UTC)
    start(app, user)
    db.session.rollback()
    assert db.session.query(TokenFamily).count() == db.session.query(RefreshToken).count() == 1


def test_it_says_the_same_of_unknown_and_wrong(app: APIFlask, user: User) -> None:
    answers = []
    for email, password in ((user.email, "wrong"), ("nobody@test.example", PASSWORD)):
        body = post(app, TOKEN, {"email": email, "password": password}).get_json()
        body.pop("request_id")
        answers.append(body)
    assert answers[0] == answers[1]
    assert (answers[0]["status"], answers[0]["code"]) == (401, "sign_in_refused")


def test_it_counts_tries_together_with_the_page(
    app: APIFlask, user: User, browser: FlaskClient
) -> None:
    wrong = {"email": user.email, "password": "wrong"}
    for _ in range(throttle.MOST_HERE):
        assert post(app, TOKEN, wrong).status_code == 401
    for email in (user.email, user.email.upper()):
        refused = post(app, TOKEN, {"email": email, "password": PASSWORD})
        assert (refused.status_code, refused.get_json()["code"]) == (429, "too_many_tries")
        assert int(refused.headers["Retry-After"]) > 0
    with pytest.raises(AssertionError, match="Too many tries"):
        sign_in(browser, user)


MALFORMED: list[dict[str, Any]] = [
    {},
    {"email": "a@b.example"},
    {"email": "a@b.example", "password": None},
    {"email": "a@b.example", "password": ""},
    {"email": "a@b.example", "password": "x" * 257},
    {"email": "nul\0@b.example", "password": "x"},
    {"email": "a@b.example", "password": "x", "scope": "everything"},
]


def test_it_names_what_is_wrong_and_repeats_no_password(app: APIFlask) -> None:
    for body in MALFORMED:
        answer = post(app, TOKEN, body)
        assert answer.status_code == 422, body
        assert answer.get_json()["errors"]
        assert "xxx" not in answer.text


def test_it_lists_programs_beside_the_browsers_and_signs_them_out(
    app: APIFlask, user: User
) -> None:
    pair, other = start(app, user), start(app, user)
    visitor = Visitor(app, Member(user, ""))
    page = visitor.open("/settings/sessions")
    rows = page.table("Programs that signed in")
    assert [row[0] for row in rows] == ["collector/1.0"] * 2
    family_id = max(family.id for family in db.session.query(TokenFamily))
    action = f"/settings/programs/{family_id}/revoke"
    after = visitor.follow(visitor.send(page, action))
    assert after.alerts == ["That program is signed out."]
    assert [opens(app, one) for one in (pair, other)] == [True, False]
    everywhere = "/settings/sessions/revoke-others"
    after = visitor.follow(visitor.send(after, everywhere))
    assert after.alerts == ["1 other sign-in has ended."]
    assert not opens(app, pair)


def test_it_signs_out_no_program_of_another(app: APIFlask, user: User) -> None:
    pair = start(app, user)
    family_id = db.session.query(TokenFamily).one().id
    other = create_user(email="other@test.example", role=Role.ADMIN)
    visitor = Visitor(app, Member(other, ""))
    token = visitor.open("/settings/sessions").values("/sign-out")["csrf_token"]
    path = f"/settings/programs/{family_id}/revoke"
    assert visitor.request("POST", path, data={"csrf_token": token}).status == 404
    assert opens(app, pair)
