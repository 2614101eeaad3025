"""`Idempotency-Key`: a creating request that is repeated creates nothing twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask

from billtrack.accounts.users.models import ApiKey, User
from billtrack.core.periods import Month
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.idempotency import CommandKey
from tests.api.refusals import row_counts
from tests.cast import Cast
from tests.usage.racing import in_processes, in_threads

HEADER = {"Idempotency-Key": "k-1"}
NEW_USER = {"email": "new@test.example", "name": "New"}

# path → the request, and another one
CREATING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "/api/v1/users": (NEW_USER, {**NEW_USER, "name": "Other"}),
    "/api/v1/api-keys": ({"name": "k"}, {"name": "other"}),
    "/api/v1/reports": ({"user_ids": "all"}, {"user_ids": "all", "month": "2026-09"}),
    "/api/v1/reports/1": ({"month": "2026-10"}, {"month": "2026-09"}),
}


def test_it_answers_a_repeated_request_alike_and_creates_once(cast: Cast) -> None:
    for path, (body, other) in CREATING.items():
        first = cast.admin.post(path, body, headers=HEADER)
        before = row_counts()
        again = cast.admin.post(f"{path}/", body, headers=HEADER)
        different = cast.admin.post(path, other, headers=HEADER)
        assert first.status_code == again.status_code < 300, first.text
        assert again.get_json() == first.get_json() | secret_hidden(path)
        assert again.headers.get("Location") == first.headers.get("Location")
        assert different.status_code == 409
        assert different.get_json()["code"] == "idempotency_conflict"
        assert row_counts() == before, path


def test_it_keeps_keys_apart_by_account_and_route(cast: Cast) -> None:
    made = [
        cast.admin.post("/api/v1/api-keys", {"name": "k"}, headers=HEADER),
        cast.manager.post("/api/v1/api-keys", {"name": "k"}, headers=HEADER),
        cast.admin.post("/api/v1/reports/1", {}, headers=HEADER),
        cast.admin.post("/api/v1/reports/2", {}, headers=HEADER),
    ]
    assert [answer.status_code for answer in made] == [201, 201, 202, 202]
    assert made[0].get_json()["id"] != made[1].get_json()["id"]
    assert made[2].get_json()["jobId"] != made[3].get_json()["jobId"]


def test_it_frees_a_key_after_a_day(cast: Cast) -> None:
    first = cast.admin.post("/api/v1/api-keys", {"name": "k"}, headers=HEADER).get_json()
    now = datetime.now(UTC)
    for left, is_new in ((timedelta(minutes=1), False), (timedelta(0), True)):
        with transaction() as session:
            session.query(CommandKey).one().expires_at = now + left
        again = cast.admin.post("/api/v1/api-keys", {"name": "k"}, headers=HEADER).get_json()
        assert (again["id"] != first["id"]) is is_new
    kept = db.session.query(CommandKey).one()
    assert timedelta(hours=23) < kept.expires_at - now <= timedelta(hours=24, minutes=1)


def test_it_uses_up_no_key_for_a_refused_request(cast: Cast) -> None:
    for refused in (
        {"email": "nobody", "name": "N"},
        {"email": cast.admin.user.email, "name": "N"},
    ):
        assert cast.admin.post("/api/v1/users", refused, headers=HEADER).status_code in {409, 422}
    assert cast.admin.post("/api/v1/users", NEW_USER, headers=HEADER).status_code == 201


def test_it_repeats_an_answer_when_the_month_has_changed(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = f"/api/v1/reports/{cast.customer.id}"
    first = cast.admin.post(path, {}, headers=HEADER)
    monkeypatch.setattr("billtrack.api.v1.reports.current_month", lambda now: Month(2030, 1))
    again = cast.admin.post(path, {}, headers=HEADER)
    assert again.get_json() == first.get_json()


def test_it_stores_neither_the_secret_of_a_key_nor_a_trace_of_a_password(cast: Cast) -> None:
    made = cast.admin.post("/api/v1/api-keys", {"name": "k"}, headers=HEADER).get_json()
    user = {**NEW_USER, "password": "correct horse battery"}
    cast.admin.post("/api/v1/users", user, headers=HEADER)
    kept = db.session.query(CommandKey).all()
    assert len(kept) == 2
    for row in kept:
        assert made["key"] not in repr(vars(row))
        assert "horse" not in repr(vars(row))
    other = cast.admin.post("/api/v1/users", {**user, "password": "p" * 12}, headers=HEADER)
    assert other.status_code == 409


@pytest.mark.by_chance
def test_it_creates_once_for_threads_that_ask_at_once(app: APIFlask, cast: Cast) -> None:
    def create() -> tuple[int, Any]:
        answer = cast.admin.post("/api/v1/users", NEW_USER, headers=HEADER)
        return answer.status_code, answer.get_json()

    answers = in_threads(app, [create] * 4)
    assert answers[0][0] == 201
    assert answers == [answers[0]] * 4
    assert users_called("New") == 1


@pytest.mark.by_chance
def test_it_lets_one_of_two_have_an_address(app: APIFlask, cast: Cast) -> None:
    answers = in_threads(
        app, [lambda: cast.admin.post("/api/v1/users", NEW_USER).status_code for _ in range(3)]
    )
    assert sorted(answers) == [201, 409, 409]
    assert users_called("New") == 1


@pytest.mark.by_chance
def test_it_creates_once_for_processes_that_ask_at_once(settings: Settings, cast: Cast) -> None:
    headers = cast.admin.headers({"headers": HEADER})
    record = {"quantity": 7, "event": "api_calls", "user_id": cast.customer.id}
    calls = [
        ("POST", "/api/v1/users", NEW_USER, headers),
        ("POST", "/api/v1/usage/", record, headers),
        ("POST", "/api/v1/usage/1/reverse", {"reason": "r"}, headers),
    ]
    (user, usage, reversal), (other_user, other_usage, other_reversal) = in_processes(
        settings, calls, times=2
    )
    assert user == other_user
    assert user[0] == 201
    for one, other in ((usage, other_usage), (reversal, other_reversal)):
        assert sorted((one[0], other[0])) == [200, 201]
        assert one[1] == other[1]
    assert users_called("New") == 1
    assert row_counts()["usage_records"] == 2


def secret_hidden(path: str) -> dict[str, None]:
    return {"key": None} if "api-keys" in path else {}


def users_called(name: str) -> int:
    db.session.rollback()
    return db.session.query(User).filter_by(name=name).count()


def test_it_makes_keys_that_work(cast: Cast) -> None:
    made = cast.provider.post("/api/v1/api-keys", {"name": "k"}, headers=HEADER).get_json()
    client = cast.provider._client()
    answer = client.get("/api/v1/me", headers={"Authorization": f"Bearer {made['key']}"})
    assert answer.get_json()["id"] == cast.provider.id
    assert db.session.get_one(ApiKey, made["id"]).user_id == cast.provider.id
