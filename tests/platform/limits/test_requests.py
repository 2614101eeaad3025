"""Who asks too often is told when to come back; nobody else notices."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from billtrack.accounts.credentials import api_keys, tokens
from billtrack.accounts.users.models import ApiKey, User
from billtrack.accounts.users.permissions import Role
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.usage.records.models import UsageRecord
from tests.cast import PASSWORD, SYSTEM, Cast, Member, create_user, csrf_token, sign_in

USAGE = "/api/v1/usage/"
THREE = "3/hour"
DEAD_REDIS = "redis://127.0.0.1:1/0"


def with_settings(**changes: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("settings", [changes], indirect=True)


def record(cast: Cast, **changes: Any) -> dict[str, Any]:
    return {"quantity": 5, "event": "api_calls", "user_id": cast.customer.id, **changes}


def stored() -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(UsageRecord)) or 0


def assert_refused(answer: TestResponse, budget: str) -> None:
    assert answer.status_code == 429, answer.text
    problem = answer.get_json()
    assert (answer.mimetype, problem["code"]) == ("application/problem+json", "rate_limited")
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    wait = int(answer.headers["Retry-After"])
    assert 1 <= wait <= 9600
    assert f"{wait} second" in problem["detail"]
    assert answer.headers["RateLimit-Policy"] == f'"{budget}";q=3;w=3600'
    assert answer.headers["RateLimit"].startswith(f'"{budget}";r=0;t=')


@with_settings(rate_api=THREE)
def test_each_key_has_its_own_budget(cast: Cast) -> None:
    left = [cast.customer.get("/api/v1/usage").headers["RateLimit"] for _ in range(3)]
    assert [told.partition(";t=")[0] for told in left] == [f'"api";r={n}' for n in (2, 1, 0)]
    assert_refused(cast.customer.get("/api/v1/meters"), "api")
    assert_refused(cast.customer.post("/api/v1/quote", {}), "api")
    assert cast.stranger.get("/api/v1/usage").status_code == 200
    assert cast.provider.post(USAGE, record(cast)).status_code == 201


@with_settings(rate_api=THREE)
def test_a_refused_role_spends_too(cast: Cast) -> None:
    statuses = [cast.customer.get("/api/v1/users/1").status_code for _ in range(4)]
    assert statuses == [404, 404, 404, 429]


@with_settings(rate_api=THREE)
def test_an_account_that_is_signed_in_has_one_budget(app: APIFlask, browser: FlaskClient) -> None:
    user = create_user(role=Role.MANAGER, email="m@test.example", password=PASSWORD)
    sign_in(browser, user)
    assert [browser.get("/settings/sessions").status_code for _ in range(3)] == [200] * 3
    page = browser.get("/settings/sessions")
    assert (page.status_code, page.mimetype) == (429, "text/html")
    assert "Try again in" in page.text


@with_settings(rate_usage=THREE)
def test_tokens_of_one_account_have_one_budget(cast: Cast) -> None:
    user = create_user(role=Role.PROVIDER, email="p@test.example", password=PASSWORD)
    one, other = (Member(user, access_token(user)) for _ in range(2))
    answers = [member.post(USAGE, record(cast)) for member in (one, other, one, other)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 429]
    assert_refused(answers[3], "usage")
    assert cast.provider.post(USAGE, record(cast)).status_code == 201


def access_token(user: User) -> str:
    with transaction():
        given: dict[str, Any] = {"address": None, "user_agent": None, "now": datetime.now(UTC)}
        return tokens.start_family(user, **given).access_token


def test_nothing_is_told_of_a_budget_that_is_off(cast: Cast) -> None:
    answer = cast.provider.post(USAGE, record(cast))
    assert answer.status_code == 201
    assert "RateLimit" not in answer.headers


@with_settings(rate_usage=THREE)
def test_a_batch_costs_as_much_as_it_holds(cast: Cast) -> None:
    batch = {"records": [record(cast), {"quantity": "no"}]}
    answer = cast.provider.post("/api/v1/usage/batch", batch)
    assert (answer.status_code, answer.headers["RateLimit"][:11]) == (200, '"usage";r=1')
    assert_refused_with_one_left(cast.provider.post("/api/v1/usage/batch", batch))
    assert stored() == 1
    assert cast.other_provider.post("/api/v1/usage/batch", batch).status_code == 200


def assert_refused_with_one_left(answer: TestResponse) -> None:
    assert (answer.status_code, answer.get_json()["code"]) == (429, "rate_limited")


@with_settings(rate_usage=THREE)
def test_a_batch_larger_than_the_budget_passes_once(cast: Cast) -> None:
    batch = {"records": [record(cast) for _ in range(8)]}
    assert cast.provider.post("/api/v1/usage/batch", batch).status_code == 200
    assert stored() == 8
    assert_refused(cast.provider.post("/api/v1/usage/batch", batch), "usage")
    assert_refused(cast.provider.post(USAGE, record(cast)), "usage")
    assert stored() == 8


@with_settings(rate_usage=THREE)
@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8"])
def test_both_ways_in_spend_from_one_budget(cast: Cast, content_type: str) -> None:
    with transaction():  # seen just now: plain requests go the short way
        db.session.execute(update(ApiKey).values(used_at=datetime.now(UTC)))

    def post() -> TestResponse:
        return cast.provider.post(USAGE, record(cast), content_type=content_type)

    made = post()
    assert (made.status_code, made.headers["RateLimit"][:11]) == (201, '"usage";r=2')
    path = USAGE + str(made.get_json()["id"])
    read = cast.provider.get(path)
    assert (read.status_code, read.headers["RateLimit"][:11]) == (200, '"usage";r=1')
    assert post().status_code == 201
    assert_refused(post(), "usage")
    assert_refused(cast.provider.get(path), "usage")
    assert_refused(cast.provider.post(f"{path}/reverse", {"reason": "r"}), "usage")
    assert stored() == 2


@with_settings(rate_reports=THREE)
def test_reports_have_a_budget_of_the_account(app: APIFlask, cast: Cast) -> None:
    with transaction():
        _, secret = api_keys.create_api_key(
            cast.manager.user, actor=SYSTEM, now=datetime.now(UTC), name="second"
        )
    other_key = Member(cast.manager.user, secret)
    path = f"/api/v1/reports/{cast.customer.id}"
    statuses = [who.post(path).status_code for who in (cast.manager, other_key, cast.manager)]
    assert statuses == [202] * 3
    for who in (cast.manager, other_key):
        assert_refused(who.post(path), "reports")
    assert db.session.scalar(select(func.count()).select_from(Job)) == 3
    assert cast.manager.get("/api/v1/usage").status_code == 200
    assert cast.admin.post(path).status_code == 202


class Database:
    """Counts how often keys are looked up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self._find = api_keys.find_together
        monkeypatch.setattr(api_keys, "find_together", self._count)

    def _count(self, secrets: Any) -> Any:
        self.asked += 1
        return self._find(secrets)


@with_settings(rate_address=THREE)
def test_unknown_keys_stop_at_the_address_before_the_database(
    app: APIFlask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cast.provider.get("/api/v1/usage").status_code == 200
    database = Database(monkeypatch)
    guess = {"Authorization": f"Bearer {cast.stranger.key[:-4]}AAAA"}
    calls: list[tuple[str, str, Any]] = [
        ("GET", "/api/v1/usage", None),
        ("POST", USAGE, record(cast)),
        ("GET", f"{USAGE}1", None),
    ]
    client = app.test_client()
    statuses = [client.open(p, method=m, json=b, headers=guess).status_code for m, p, b in calls]
    assert statuses == [401] * 3
    assert client.get("/api/v1/usage", headers=guess).status_code == 429
    before = database.asked
    for method, path, body in calls:
        assert_refused(client.open(path, method=method, json=body, headers=guess), "address")
    assert database.asked == before
    elsewhere = {"environ_base": {"REMOTE_ADDR": "203.0.113.5"}, "headers": guess}
    assert client.get("/api/v1/usage", **elsewhere).status_code == 401
    # Who got in before still does, from the same address and by both ways.
    assert cast.provider.get("/api/v1/usage").status_code == 200
    assert cast.provider.post(USAGE, record(cast)).status_code == 201


@with_settings(rate_address=THREE)
def test_pages_without_an_account_are_counted_by_address(app: APIFlask) -> None:
    browser = app.test_client()
    answers = [
        browser.get(p) for p in ("/sign-in", "/forgot-password", "/api/v1/usage", "/sign-in")
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 401, 429]
    assert all(app.test_client().get("/api/v1/health/live").status_code == 200 for _ in range(9))
    assert browser.get("/static/css/tokens.css", buffered=True).status_code == 200


@with_settings(redis_url=DEAD_REDIS, rate_usage="600/minute")
def test_without_redis_usage_is_stored_and_sign_in_stays_limited(app: APIFlask, cast: Cast) -> None:
    browser = app.test_client()
    statuses = []
    for _ in range(6):
        form = {"email": "a@test.example", "password": "wrong", "csrf_token": ""}
        form["csrf_token"] = csrf_token(browser.get("/sign-in"))
        statuses.append(browser.post("/sign-in", data=form).status_code)
    assert statuses == [401] * 5 + [429]
    assert [cast.provider.post(USAGE, record(cast)).status_code for _ in range(5)] == [201] * 5


@with_settings(redis_url=DEAD_REDIS, rate_api=THREE, rate_usage=THREE)
def test_without_redis_each_process_counts_by_itself(cast: Cast) -> None:
    for _ in range(3):
        assert cast.customer.get("/api/v1/usage").status_code == 200
    assert_refused(cast.customer.get("/api/v1/usage"), "api")
