"""The short way answers what the routes would, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import update
from structlog.testing import capture_logs
from werkzeug.test import TestResponse

from billtrack.accounts.credentials.api_keys import find_together
from billtrack.accounts.users.models import ApiKey
from billtrack.platform.db import transaction
from billtrack.platform.driver import is_postgresql
from billtrack.platform.extensions import db
from tests.cast import Cast, Member
from tests.entrypoints.server.fast_path.loops import LoopFirst, before, see
from tests.usage.ingest.test_intake import assert_rollups_equal_records

USAGE = "/api/v1/usage/"
LONG_WAY = "application/json; charset=utf-8"
VARYING = {"X-Request-Id", "Content-Length", "Location"}


@pytest.fixture(autouse=True)
def keys_in_use(cast: Cast) -> None:
    """Every key was seen just now; the first use of a minute is noted on the long way."""
    change_keys(used_at=datetime.now(UTC))


@pytest.fixture(autouse=True)
def loop(app: APIFlask, cast: Cast, keys_in_use: None) -> Iterator[LoopFirst]:
    """The loop before the routes; it says what it answered itself."""
    with before(app) as first:
        see(cast)
        yield first


def change_keys(**values: Any) -> None:
    with transaction():
        db.session.execute(update(ApiKey).values(**values))


def post(
    browser: FlaskClient,
    member: Member,
    body: Any,
    content_type: str = "application/json",
    **headers: str,
) -> TestResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    bearer = {"Authorization": f"Bearer {member.key}", **headers}
    return browser.post(USAGE, data=data, content_type=content_type, headers=bearer)


def record(cast: Cast, **changes: Any) -> dict[str, Any]:
    return {"quantity": 5, "event": "api_calls", "user_id": cast.customer.id, **changes}


def plain(answer: TestResponse) -> tuple[int, dict[str, str], list[str], dict[str, Any]]:
    """Return all of an answer but what differs from record to record."""
    headers = {name: value for name, value in answer.headers if name not in VARYING}
    body = answer.get_json()
    differing = {"id", "created_at", "occurred_at", "idempotency_key"}
    same = {name: value for name, value in body.items() if name not in differing}
    return answer.status_code, headers, list(body), same


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"idempotency_key": "ключ"},
        {"metadata": {"region": "Zürich", "n": 1.5, "on": True}},
        {"occurred_at": datetime.now(UTC).isoformat()},
        {"event": "unheard_of"},
        {"user_id": 10**9},
    ],
)
def test_it_answers_a_new_record_as_the_route_does(
    cast: Cast, browser: FlaskClient, changes: dict[str, Any]
) -> None:
    short = post(browser, cast.provider, record(cast, **changes))
    if "idempotency_key" in changes:
        changes = {"idempotency_key": "ключ 2"}
    long = post(browser, cast.provider, record(cast, **changes), LONG_WAY)
    short_body, long_body = short.get_json(), long.get_json()
    for body in (short_body, long_body):
        body.pop("request_id", None)
    assert (plain(short)[:3], short.content_type) == (plain(long)[:3], long.content_type)
    if short.status_code == 201:
        assert short.headers["Location"] == f"/api/v1/usage/{short_body['id']}"
        assert plain(short)[3] == plain(long)[3]
        for answer in (short, long):
            path = f"/api/v1/usage/{answer.get_json()['id']}"
            assert cast.provider.get(path).get_json() == answer.get_json()
    else:
        assert short_body == long_body
    assert_rollups_equal_records()


def test_it_writes_the_same_bytes(cast: Cast, browser: FlaskClient) -> None:
    body = record(cast, idempotency_key="k\u00e9y", metadata={"a": "\u2713", "b": 2})
    post(browser, cast.provider, body)
    short, long = post(browser, cast.provider, body), post(browser, cast.provider, body, LONG_WAY)
    assert short.status_code == long.status_code == 200
    assert short.get_data() == long.get_data()
    path = USAGE + str(short.get_json()["id"])
    bearer = {"Authorization": f"Bearer {cast.provider.key}"}
    found = browser.get(path, headers=bearer)
    by_route = browser.get(path, headers={"Authorization": f"bearer {cast.provider.key}"})
    assert found.get_data() == by_route.get_data() == short.get_data()
    assert dict(found.headers).keys() == dict(by_route.headers).keys()
    assert plain(found) == plain(by_route)


def test_it_needs_no_framework_for_what_is_plain(
    app: APIFlask, cast: Cast, browser: FlaskClient, loop: LoopFirst
) -> None:
    body = record(cast, idempotency_key="k", metadata={"a": 1})
    assert post(browser, cast.provider, body).status_code == 201
    bearer = {"Authorization": f"Bearer {cast.customer.key}"}
    assert browser.get(f"{USAGE}1", headers=bearer).status_code == 200
    assert loop.statuses == [201, 200]
    decided = [
        post(browser, cast.provider, body),
        post(browser, cast.provider, {**body, "quantity": 6}),
        post(browser, cast.provider, {**body, "user_id": 10**9}),
        post(browser, cast.provider, record(cast, event="none")),
    ]
    statuses = [answer.status_code for answer in decided]
    assert statuses == [200, 409, 409, 422]
    # PostgreSQL stores there what is new and good; SQLite's writer decides on the rest, too.
    assert loop.statuses[2:] == ([] if is_postgresql() else statuses)


def test_it_gives_back_the_request_id(cast: Cast, browser: FlaskClient) -> None:
    for way in ("application/json", LONG_WAY):
        answer = post(browser, cast.provider, record(cast), way, **{"X-Request-Id": "request-1"})
        assert (answer.status_code, answer.headers["X-Request-Id"]) == (201, "request-1")
    bad = post(browser, cast.provider, record(cast), **{"X-Request-Id": "no id: \x7f"})
    assert len(bad.headers["X-Request-Id"]) == 16
    refused = post(
        browser, cast.provider, record(cast, event="none"), **{"X-Request-Id": "request-2"}
    )
    assert refused.get_json()["request_id"] == refused.headers["X-Request-Id"] == "request-2"


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"quantity": "5"}', b"\xff", b"x" * 20_000])
def test_it_hands_on_bodies_that_are_not_plain(
    cast: Cast, browser: FlaskClient, body: bytes
) -> None:
    short, long = (
        post(browser, cast.provider, body, way) for way in ("application/json", LONG_WAY)
    )
    assert short.status_code == long.status_code in {400, 422}
    assert short.get_json()["errors"] == long.get_json()["errors"]


def test_it_hands_on_keys_in_the_header(cast: Cast, browser: FlaskClient) -> None:
    header = {"Idempotency-Key": "k"}
    assert post(browser, cast.provider, record(cast), **header).status_code == 201
    assert post(browser, cast.provider, record(cast, idempotency_key="k")).status_code == 200
    both = record(cast, idempotency_key="other")
    assert post(browser, cast.provider, both, **header).status_code == 422


def test_it_lets_in_only_keys_that_live_and_may(cast: Cast, browser: FlaskClient) -> None:
    assert post(browser, cast.customer, record(cast)).status_code == 403
    unknown = Member(cast.provider.user, cast.provider.key[:-1] + "~")
    assert post(browser, unknown, record(cast)).status_code == 401
    now = datetime.now(UTC)
    change_keys(expires_at=now - timedelta(seconds=1))
    assert post(browser, cast.provider, record(cast)).status_code == 401
    change_keys(expires_at=now + timedelta(hours=1), revoked_at=now)
    assert post(browser, cast.provider, record(cast)).status_code == 401
    change_keys(revoked_at=None, scopes=["usage:read"])
    assert post(browser, cast.provider, record(cast)).status_code == 403
    change_keys(scopes=["usage:record"])
    assert post(browser, cast.provider, record(cast)).status_code == 201
    bearer = {"Authorization": f"Bearer {cast.provider.key}"}
    assert browser.get(f"{USAGE}1", headers=bearer).status_code == 403


def test_it_shows_a_record_only_to_those_who_may_see_it(cast: Cast, browser: FlaskClient) -> None:
    post(browser, cast.provider, record(cast))
    expected = {
        cast.admin: 200,
        cast.manager: 200,
        cast.provider: 200,
        cast.other_provider: 404,
        cast.customer: 200,
        cast.stranger: 404,
    }
    for member, status in expected.items():
        bearer = {"Authorization": f"Bearer {member.key}"}
        assert browser.get(f"{USAGE}1", headers=bearer).status_code == status
        assert browser.get(f"{USAGE}2", headers=bearer).status_code == 404


def test_it_notes_that_a_key_is_in_use(cast: Cast, browser: FlaskClient) -> None:
    long_ago = datetime.now(UTC) - timedelta(hours=1)
    change_keys(used_at=long_ago)
    find_together([cast.provider.key])  # as at the first request after a minute
    assert post(browser, cast.provider, record(cast)).status_code == 201
    seen = db.session.query(ApiKey).filter_by(user_id=cast.provider.id).one()
    db.session.refresh(seen)
    assert seen.used_at is not None
    assert seen.used_at > long_ago


@pytest.mark.parametrize("way", ["application/json", LONG_WAY])
def test_a_record_that_is_stored_or_read_leaves_no_line_in_the_log(
    cast: Cast, browser: FlaskClient, way: str
) -> None:
    with capture_logs() as logs:
        stored = post(browser, cast.provider, record(cast, idempotency_key="k"), way)
        known = post(browser, cast.provider, record(cast, idempotency_key="k"), way)
        scheme = "Bearer" if way == "application/json" else "bearer"
        bearer = {"Authorization": f"{scheme} {cast.provider.key}"}
        read = browser.get(f"{USAGE}1", headers=bearer)
    assert [one.status_code for one in (stored, known, read)] == [201, 200, 200]
    assert logs == []
    with capture_logs() as logs:
        post(browser, cast.provider, record(cast, event="none"), way)
    assert [(one["event"], one["status"]) for one in logs] == [("request", 422)]
