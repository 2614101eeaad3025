"""API keys on the pages: shown once, limited to the role, revoked with a question asked."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from apiflask import APIFlask

from billtrack.accounts.credentials.api_keys import create_api_key
from billtrack.accounts.users.models import ApiKey, User
from billtrack.accounts.users.permissions import READ_ONLY, Permission, Role, grantable_scopes
from billtrack.dashboard.settings.api_keys.forms import SCOPES
from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.idempotency import CommandKey
from tests.cast import SYSTEM, Cast, Member
from tests.dashboard.page import Page, Visitor, text_of

pytestmark = pytest.mark.one_database

FORM = "/settings/api-keys"
SECRET = re.compile(r"bt_live_[A-Za-z0-9]{49}")
ROLES = ("admin", "manager", "provider", "customer")


def create(visitor: Visitor, *, path: str = "/settings/api-keys/new", **typed: Any) -> Page:
    given = {"name": "collector", "scopes": ["usage:read"], "expires": "90", **typed}
    return visitor.send(visitor.open(path), FORM, given)


def secret_of(page: Page) -> str:
    (found,) = SECRET.findall(page.source)
    assert isinstance(found, str)
    return found


def keys_of(member: Member) -> list[ApiKey]:
    read_anew()
    found = db.session.query(ApiKey).filter(ApiKey.user_id == member.id, ApiKey.name != "test")
    return found.order_by(ApiKey.id).all()


def read_anew() -> None:
    """Let go of the snapshot, so that what was stored meanwhile is seen."""
    db.session.rollback()
    db.session.expire_all()


def first_key(member: Member) -> ApiKey:
    return db.session.query(ApiKey).filter(ApiKey.user_id == member.id).one()


def call(app: APIFlask, secret: str, path: str = "/api/v1/usage") -> int:
    headers = {"Authorization": f"Bearer {secret}"}
    with app.app_context():  # a reading of its own, as every request has
        return app.test_client(use_cookies=False).get(path, headers=headers).status_code


@pytest.mark.parametrize("role", ROLES)
def test_it_makes_a_key_that_works(app: APIFlask, cast: Cast, role: str) -> None:
    who: Member = getattr(cast, role)
    visitor = Visitor(app, who)
    page = create(visitor)
    assert page.status == 200
    assert page.heading == "API key created"
    assert call(app, secret_of(page)) == 200
    (key,) = keys_of(who)
    assert (key.scopes, key.user_id) == (["usage:read"], who.id)
    assert key.expires_at is not None
    assert key.expires_at - key.created_at == pytest.approx(
        timedelta(days=90), abs=timedelta(hours=1)
    )


def test_it_shows_the_secret_once_and_keeps_it_nowhere(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.provider)
    page = create(visitor)
    secret = secret_of(page)
    assert page.answer.headers["Cache-Control"] == "no-store"
    assert "Location" not in page.answer.headers
    assert secret not in str(page.answer.headers)
    for path in (FORM, f"{FORM}?state=ended", f"{FORM}/new"):
        assert secret not in visitor.open(path).source
    with app.app_context(), visitor.client.session_transaction() as cookie:
        assert secret not in str(dict(cookie))
    read_anew()
    stored = [str(vars(row)) for model in (ApiKey, AuditEntry, CommandKey)
              for row in db.session.query(model)]  # fmt: skip
    assert secret not in "".join(stored)


def test_it_makes_one_key_of_a_form_that_is_sent_twice(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.provider)
    form = visitor.open("/settings/api-keys/new")
    typed = {"name": "collector", "scopes": ["usage:read"], "expires": ""}
    first = visitor.send(form, FORM, typed)
    again = visitor.send(form, FORM, typed)
    assert again.location == FORM
    after = visitor.follow(again)
    assert after.alerts == ["This key was made before. Its secret text is shown only once."]
    assert secret_of(first) not in after.source
    assert len(keys_of(cast.provider)) == 1
    other = visitor.send(form, FORM, {**typed, "name": "another"})
    assert other.status == 422
    assert other.values(FORM)["name"] == "another"
    assert visitor.send(other, FORM, typed | {"name": "another"}).status == 200
    assert [key.name for key in keys_of(cast.provider)] == ["collector", "another"]


@pytest.mark.parametrize("role", ROLES)
def test_it_offers_and_takes_the_scopes_of_the_role_only(
    app: APIFlask, cast: Cast, role: str
) -> None:
    visitor = Visitor(app, getattr(cast, role))
    page = visitor.open("/settings/api-keys/new")
    offered = {e.get("value") for e in page.all("input", type="checkbox")}
    assert offered == {str(scope) for scope in grantable_scopes(Role(role))}
    if role == "customer":
        assert offered == {str(scope) for scope in READ_ONLY}
    for scope in [*(set(map(str, Permission)) - offered), "everything", "", "\0"]:
        page = create(visitor, scopes=["usage:read", scope])
        assert (page.status, page.heading) == (422, "New API key"), scope
        assert "Choose among the boxes." in page.text
    assert keys_of(getattr(cast, role)) == []


def test_it_has_a_word_for_every_scope() -> None:
    assert set(SCOPES) == set(Permission)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"name": ""}, "Say what uses the key."),
        ({"name": "  "}, "Say what uses the key."),
        ({"name": "x" * 101}, "Write at most 100 characters."),
        ({"name": "nul\0"}, "Use printable characters only."),
        ({"scopes": []}, "Tick at least one."),
        ({"expires": "31"}, "Choose one of the list."),
        ({"expires": "-1"}, "Choose one of the list."),
        ({"idempotency_key": ""}, "Load the page again."),
    ],
)
def test_it_says_what_is_wrong_and_keeps_what_was_typed(
    app: APIFlask, cast: Cast, typed: dict[str, Any], said: str
) -> None:
    page = create(Visitor(app, cast.provider), **typed)
    assert page.status == 422
    assert said in page.text
    if "scopes" not in typed:
        (ticked,) = (e for e in page.all("input", type="checkbox") if "checked" in e.attrib)
        assert ticked.get("value") == "usage:read"
    assert keys_of(cast.provider) == []


def test_it_lists_ones_own_keys_and_to_an_administrator_all(app: APIFlask, cast: Cast) -> None:
    create(Visitor(app, cast.provider), name="of the provider")
    listed = {role: Visitor(app, getattr(cast, role)).open(FORM) for role in ROLES}
    assert "of the provider" in listed["admin"].text
    assert "of the provider" in listed["provider"].text
    assert len(listed["provider"].table("API keys that work")) == 2
    assert len(listed["admin"].table("API keys that work")) == 8
    for role in ("manager", "customer"):
        rows = listed[role].table("API keys that work")
        assert len(rows) == 1
        assert "of the provider" not in listed[role].text


def test_it_tells_keys_that_work_from_those_that_do_not(app: APIFlask, cast: Cast) -> None:
    now = datetime.now(UTC)
    with transaction():
        for name, days in (("old", 1), ("soon", 3), ("late", 400)):
            create_api_key(
                cast.provider.user,
                actor=SYSTEM,
                now=now - timedelta(days=2),
                name=name,
                expires_at=now + timedelta(days=days - 2),
            )
        db.session.get_one(User, cast.customer.id).deactivated_at = now
    visitor = Visitor(app, cast.admin)
    live = visitor.open(FORM).table("API keys that work")
    ended = visitor.open(f"{FORM}?state=ended").table("API keys that do not")
    assert [row[0].split()[0] for row in live][:2] == ["late", "soon"]
    assert [(row[0].split()[0], row[-1]) for row in ended] == [
        ("old", "expired"),
        ("test", "account deactivated"),
    ]
    soon = [text_of(e) for e in visitor.open(FORM).all("span", class_="badge badge-warn")]
    assert len(soon) == 1


def test_it_pages_many_keys(app: APIFlask, cast: Cast) -> None:
    with transaction():
        for number in range(30):
            create_api_key(
                cast.provider.user, actor=SYSTEM, now=datetime.now(UTC), name=f"key {number}"
            )
    visitor = Visitor(app, cast.provider)
    page = visitor.open(FORM)
    assert "1–25 of 31 keys" in page.text
    assert page.table("API keys that work")[0][0].startswith("key 29")
    last = visitor.open(f"{FORM}?page=2")
    assert last.table("API keys that work")[-1][0].startswith("test")
    for odd in ("0", "-1", "x", "99999999999999999999"):
        assert visitor.open(f"{FORM}?page={odd}").status == 200


def test_it_says_when_a_key_was_used_last(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.provider)
    secret = secret_of(create(visitor))
    column = -3
    assert visitor.open(FORM).table("API keys that work")[0][column] == "never"
    call(app, secret)
    assert visitor.open(FORM).table("API keys that work")[0][column] != "never"


def test_it_asks_before_it_revokes_and_then_does(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.provider)
    secret = secret_of(create(visitor))
    (key,) = keys_of(cast.provider)
    path = f"{FORM}/{key.id}/revoke"
    assert path in visitor.open(FORM).links
    question = visitor.open(path)
    assert question.heading == "Revoke this key?"
    assert call(app, secret) == 200
    assert FORM in question.links
    after = visitor.follow(visitor.send(question, path))
    assert after.alerts == ["The key “collector” is revoked."]
    assert call(app, secret) == 401
    assert visitor.open(path, 303).location == f"{FORM}?state=ended"
    assert "revoked" in visitor.open(f"{FORM}?state=ended").text
    read_anew()
    ended = db.session.query(AuditEntry).filter(AuditEntry.action == "api_key.revoked").one()
    assert (ended.actor_user_id, ended.object_id) == (cast.provider.id, key.id)


def test_it_rotates_a_key_and_shows_the_successor_once(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.provider)
    old = secret_of(create(visitor))
    (key,) = keys_of(cast.provider)
    path = f"{FORM}/{key.id}/rotate"
    assert path in visitor.open(FORM).links
    question = visitor.open(path)
    assert question.choices(path, "hours") == ["Not at all", "An hour", "A day", "A week"]
    page = visitor.send(question, path, {"hours": "1"})
    assert (page.status, page.heading) == (200, "API key rotated")
    assert page.answer.headers["Cache-Control"] == "no-store"
    assert [call(app, secret) for secret in (old, secret_of(page))] == [200, 200]
    live = visitor.open(FORM)
    assert path not in live.links
    (row,) = (row for row in live.table("API keys that work") if "replaced until" in row[-2])
    assert row[0].startswith("collector")
    again = visitor.follow(visitor.send(question, path, {"hours": "1"}))
    assert again.alerts == ["This key was made before. Its secret text is shown only once."]
    assert len(keys_of(cast.provider)) == 2
    assert visitor.open(path, 303).location == FORM


def test_it_lists_a_replaced_key_as_ended(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.provider)
    old = secret_of(create(visitor))
    path = f"{FORM}/{keys_of(cast.provider)[0].id}/rotate"
    page = visitor.send(visitor.open(path), path, {"hours": "0"})
    assert "the old key, which does not work any more" in page.text
    assert call(app, old) == 401
    ended = visitor.open(f"{FORM}?state=ended").table("API keys that do not")
    assert [(row[0].split()[0], row[-1]) for row in ended] == [("collector", "replaced")]


def test_it_says_why_a_key_cannot_be_rotated(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.provider)
    create(visitor)
    (key,) = keys_of(cast.provider)
    path = f"{FORM}/{key.id}/rotate"
    question, other = visitor.open(path), visitor.open(path)
    odd = visitor.send(question, path, {"hours": "2"})
    assert (odd.status, odd.error(path, "hours")) == (422, "Choose one of the list.")
    visitor.send(question, path)
    late = visitor.send(other, path)
    assert (late.status, late.alerts) == (
        422,
        ["This key has a successor already. Rotate that one."],
    )


@pytest.mark.parametrize("role", ["manager", "provider", "customer"])
def test_it_knows_no_key_of_another(app: APIFlask, cast: Cast, role: str) -> None:
    foreign = first_key(cast.stranger).id
    visitor = Visitor(app, getattr(cast, role))
    token = visitor.open(FORM).values("/sign-out")["csrf_token"]
    typed = {"csrf_token": token, "hours": "1", "idempotency_key": "k"}
    for key_id, action in product((foreign, 999_999), ("revoke", "rotate")):
        path = f"{FORM}/{key_id}/{action}"
        assert visitor.request("GET", path).status == 404
        assert visitor.request("POST", path, data=typed).status == 404
    read_anew()
    untouched = db.session.get_one(ApiKey, foreign)
    assert (untouched.revoked_at, untouched.rotated_at) == (None, None)


def test_it_lets_an_administrator_revoke_any(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.admin)
    path = f"{FORM}/{first_key(cast.stranger).id}/revoke"
    visitor.send(visitor.open(path), path)
    assert call(app, cast.stranger.key) == 401


def test_it_lets_an_administrator_make_a_key_for_an_account_that_cannot_sign_in(
    app: APIFlask, cast: Cast
) -> None:
    visitor = Visitor(app, cast.admin)
    path = "/settings/api-keys/new?account=Provider@test.example"
    page = visitor.open(path)
    assert "for Provider" in page.text
    offered = {e.get("value") for e in page.all("input", type="checkbox")}
    assert offered == {str(scope) for scope in grantable_scopes(Role.PROVIDER)}
    create(visitor, path=path, name="theirs", scopes=["usage:record"])
    assert [key.name for key in keys_of(cast.provider)] == ["theirs"]
    assert keys_of(cast.admin) == []
    for unknown in ("nobody@test.example", "%00", "x" * 300):
        page = visitor.open(f"/settings/api-keys/new?account={unknown}", 422)
        assert page.error("/settings/api-keys/new", "account")


@pytest.mark.parametrize("role", ["manager", "provider", "customer"])
def test_it_lets_nobody_else_make_a_key_for_another(app: APIFlask, cast: Cast, role: str) -> None:
    visitor = Visitor(app, getattr(cast, role))
    for account in ("stranger@test.example", "nobody@test.example", "admin@test.example", "\0"):
        path = "/settings/api-keys/new"
        assert visitor.request("GET", path, query_string={"account": account}).status == 404
        assert create(visitor, account=account).status == 404
    assert keys_of(cast.stranger) == keys_of(cast.admin) == []


def test_it_shows_names_as_text(app: APIFlask, cast: Cast) -> None:
    name = "<script>alert(1)</script><b>x"
    visitor = Visitor(app, cast.provider)
    made = create(visitor, name=name)
    (key,) = keys_of(cast.provider)
    path = f"{FORM}/{key.id}/revoke"
    for page in (made, visitor.open(FORM), visitor.open(path)):
        assert "<script>alert" not in page.source
        assert name in page.text
    assert name in visitor.follow(visitor.send(visitor.open(path), path)).alerts[0]
