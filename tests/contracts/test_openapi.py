"""The OpenAPI document: valid, complete, and what every answer keeps to."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from apiflask import APIFlask
from flask import current_app
from openapi_spec_validator import OpenAPIV31SpecValidator
from werkzeug.test import TestResponse

from billtrack.api.v1.openapi import document
from billtrack.platform.db import transaction
from billtrack.platform.jobs.models import Job
from billtrack.presentation.api_reference import body_example, body_schema
from billtrack.usage.sources.writing import write_noted
from tests.answers import assert_as_documented, faults
from tests.cast import PASSWORD, Cast, create_user

pytestmark = pytest.mark.one_database

HIDDEN = {("get", "/api/v1/openapi.json")}
QUOTE = {
    "currency": "USD",
    "charges": [
        {
            "meter": "api_calls",
            "model": "graduated",
            "per": 1000,
            "tiers": [{"up_to": 10, "unit_price": "1"}, {"up_to": None, "unit_price": "0.5"}],
        }
    ],
    "usage": {"api_calls": 500000, "vm_uptime": 3},
}
USAGE = {"quantity": 500000, "event": "api_calls", "user_id": None, "metadata": {"a": 1.5}}
TOTAL = {"day": "2026-10-01", "event": "api_calls", "quantity": 1}
SIGN_IN = {"email": "x@y.example", "password": PASSWORD}
NEW_USER = {"email": "new@test.example", "name": "New"}
KEY = {"Idempotency-Key": "the same key"}
NO_KEY = {"Idempotency-Key": "k" * 256}
REPLAY = "/rejected-records/{rejected_id}/replay"
REPLAYED = {"quantity": 5, "event": "api_calls", "user_id": None, "idempotency_key": "replayed"}

# method, documented path, address where it differs, body, status
CALLS: list[tuple[str, str, str | None, Any, int]] = [
    ("post", "/usage/", None, USAGE, 201),
    ("post", "/usage/", None, USAGE, 200),
    ("post", "/usage/", None, {}, 422),
    ("post", "/usage/", None, {**USAGE, "quantity": 1}, 409),
    ("post", "/usage/", None, {**USAGE, "idempotency_key": "k"}, 422),
    ("post", "/usage/batch", None, {"records": []}, 422),
    ("get", "/usage/{record_id}", "/usage/1", None, 200),
    ("get", "/usage/{record_id}", "/usage/7", None, 404),
    ("get", "/usage", "/usage?limit=1", None, 200),
    ("get", "/usage/summary", "/usage/summary?group_by=day", None, 200),
    ("get", "/usage/summary", "/usage/summary?group_by=month", None, 200),
    ("get", "/usage/summary", None, None, 200),
    ("get", "/sources", None, None, 200),
    ("get", "/sources/{source_id}", "/sources/1", None, 200),
    ("get", "/sources/{source_id}", "/sources/7", None, 404),
    ("get", "/sources/{source_id}/hours", "/sources/1/hours", None, 200),
    ("get", "/users/{user_id}/statement", "/users/CUSTOMER/statement", None, 200),
    ("post", "/usage/{record_id}/reverse", "/usage/1/reverse", {"reason": "r"}, 201),
    ("post", "/usage/{record_id}/reverse", "/usage/1/reverse", {"reason": "r"}, 200),
    ("post", "/usage/{record_id}/reverse", "/usage/2/reverse", {"reason": "r"}, 409),
    ("post", "/usage/batch", None, {"records": [USAGE, {**USAGE, "quantity": 0}]}, 200),
    ("get", "/rejected-records", None, None, 200),
    ("get", "/rejected-records/{rejected_id}", "/rejected-records/1", None, 200),
    ("get", "/rejected-records/{rejected_id}", "/rejected-records/99", None, 404),
    ("post", REPLAY, "/rejected-records/1/replay", {"quantity": 0}, 422),
    ("post", REPLAY, "/rejected-records/1/replay", REPLAYED, 201),
    ("post", REPLAY, "/rejected-records/1/replay", {}, 200),
    ("post", "/usage/reconciliation", None, {"totals": [TOTAL]}, 200),
    ("post", "/usage/reconciliation", None, {"totals": []}, 422),
    ("post", "/usage/reconciliation", None, {"totals": [TOTAL], "account_id": 99}, 404),
    ("post", "/users", None, NEW_USER, 201),
    ("post", "/users", None, NEW_USER, 201),
    ("post", "/users", None, {**NEW_USER, "name": "Other"}, 409),
    ("get", "/users", "/users?limit=2", None, 200),
    ("get", "/users/{user_id}", "/users/CUSTOMER", None, 200),
    ("patch", "/users/{user_id}", "/users/CUSTOMER", {"name": "N"}, 200),
    ("get", "/users/{user_id}/subscriptions", "/users/CUSTOMER/subscriptions", None, 200),
    ("post", "/users/{user_id}/invite", "/users/7/invite", None, 202),
    ("post", "/users/{user_id}/password-reset", "/users/8/password-reset", None, 202),
    ("post", "/users/{user_id}/password-reset", "/users/7/password-reset", None, 409),
    ("post", "/users/{user_id}/deactivate", "/users/7/deactivate", None, 200),
    ("post", "/users/{user_id}/reactivate", "/users/7/reactivate", None, 200),
    ("post", "/users/{user_id}/export", "/users/CUSTOMER/export", None, 200),
    ("post", "/users/{user_id}/erase", "/users/7/erase", {"email": "other@test.example"}, 422),
    ("post", "/users/{user_id}/erase", "/users/1/erase", {"email": "admin@test.example"}, 409),
    ("post", "/users/{user_id}/erase", "/users/7/erase", {"email": "stranger@test.example"}, 200),
    ("get", "/me", None, None, 200),
    ("post", "/auth/token", None, SIGN_IN, 401),
    ("post", "/auth/token", None, {"email": "x@y.example"}, 422),
    ("post", "/auth/token/refresh", None, {"refresh_token": "bt_refresh_nobody"}, 401),
    ("post", "/auth/token/revoke", None, {"refresh_token": "bt_refresh_nobody"}, 200),
    ("post", "/api-keys", None, {"name": "k"}, 201),
    ("post", "/api-keys", None, {"name": "k"}, 201),
    ("get", "/api-keys", None, None, 200),
    ("get", "/audit", None, None, 200),
    ("post", "/api-keys/{key_id}/rotate", "/api-keys/2/rotate", {"grace_seconds": 5}, 201),
    ("post", "/api-keys/{key_id}/rotate", "/api-keys/2/rotate", {"grace_seconds": 6}, 409),
    ("post", "/api-keys/{key_id}/revoke", "/api-keys/2/revoke", None, 200),
    ("get", "/meters", None, None, 200),
    ("get", "/meters/{code}", "/meters/vm_uptime", None, 200),
    ("get", "/plans", None, None, 200),
    ("get", "/plans/{code}", "/plans/standard", None, 200),
    ("post", "/quote", None, QUOTE, 200),
    ("post", "/reports/{user_id}", "/reports/CUSTOMER", None, 202),
    ("post", "/reports", None, {"user_ids": "all"}, 202),
    ("get", "/reports/status/{job_id}", "/reports/status/1", None, 200),
    ("get", "/reports/status/{job_id}", "/reports/status/2", None, 200),
    ("get", "/reports/status/{job_id}", "/reports/status/6", None, 200),
    ("get", "/jobs", None, None, 200),
    ("get", "/jobs/{job_id}", "/jobs/1", None, 200),
    ("post", "/jobs/{job_id}/retry", "/jobs/1/retry", None, 409),
    ("post", "/jobs/{job_id}/retry", "/jobs/2/retry", None, 202),
    ("get", "/health", None, None, 200),
    ("get", "/health/live", None, None, 200),
    ("get", "/health/ready", None, None, 200),
]


def test_it_is_a_valid_document(app: APIFlask) -> None:
    spec = document()
    assert spec["openapi"].startswith("3.1")
    OpenAPIV31SpecValidator(spec).validate()


def test_it_has_every_route_and_nothing_else(app: APIFlask) -> None:
    routes = {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule))
        for rule in app.url_map.iter_rules()
        if rule.rule.startswith("/api/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    described = {
        (method, path)
        for path, operations in document()["paths"].items()
        for method in operations
        if method != "parameters"
    }
    assert described == routes - HIDDEN


def test_every_operation_says_what_it_takes_and_gives(app: APIFlask) -> None:
    for path, operations in document()["paths"].items():
        for method, operation in operations.items():
            label = f"{method} {path}"
            assert operation["summary"], label
            assert any(status.startswith("2") for status in operation["responses"]), label
            for status, response in operation["responses"].items():
                assert response["content"], f"{label} {status}"
            named = {p["name"] for p in operation.get("parameters", []) if p["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path)), label
            is_public = path.startswith(("/api/v1/health", "/api/v1/auth/"))
            assert bool(operation.get("security")) is not is_public, label


def test_every_body_has_an_example_that_it_would_accept(app: APIFlask) -> None:
    spec = document()
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            if "requestBody" in operation:
                schema = body_schema(spec, operation)
                example = body_example(spec, schema)
                assert example, f"{method} {path}"
                assert "text" not in str(example), f"{method} {path} needs an example"
                assert faults(example, schema, spec) == [], f"{method} {path}"


def test_every_answer_is_as_it_says(app: APIFlask, cast: Cast) -> None:
    walk = Walk(document())
    assert create_user(password=PASSWORD).id == 8
    for ending in ("completed", "failed"):
        answer = cast.admin.post(f"/api/v1/reports/{cast.customer.id}")
        end_job(int(answer.get_json()["jobId"]), ending)
    for method, path, address, body, status in CALLS:
        write_noted()
        where = "/api/v1" + (address or path).replace("CUSTOMER", str(cast.customer.id))
        options: dict[str, Any] = {} if body is None else {"json": filled(body, cast)}
        if walk.takes_key(method, path) and status < 400:
            wrong = cast.admin.headers({"headers": NO_KEY})
            answer = cast.admin._client().open(where, method=method, **options, headers=wrong)
            walk.check(answer, method, path, 422)
            assert [error["field"] for error in answer.get_json()["errors"]] == [*NO_KEY], path
        options["headers"] = cast.admin.headers({"headers": {} if path == "/usage/batch" else KEY})
        answer = cast.admin._client().open(where, method=method, **options)
        walk.check(answer, method, path, status)
    check_tokens(walk)
    assert walk.untouched() == set()


def check_tokens(walk: Walk) -> None:
    """Sign in and go on, which takes what the answer before brought."""
    create_user(email="person@test.example", password=PASSWORD)
    client = current_app.test_client(use_cookies=False)
    body = {"email": "person@test.example", "password": PASSWORD}
    for path in ("/auth/token", "/auth/token/refresh"):
        answer = client.post(f"/api/v1{path}", json=body)
        walk.check(answer, "post", path, 200)
        body = {"refresh_token": answer.get_json()["refresh_token"]}


class Walk:
    """Compares answers with the document, and remembers which operations were walked."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._left = {
            (method, path) for path, operations in spec["paths"].items() for method in operations
        }

    def takes_key(self, method: str, path: str) -> bool:
        """Tell whether the operation says that it takes an idempotency key."""
        operation = self._spec["paths"][f"/api/v1{path}"][method]
        return {"Idempotency-Key"} <= {p["name"] for p in operation.get("parameters", ())}

    def check(self, answer: TestResponse, method: str, path: str, status: int) -> None:
        """Check an answer against what the operation promises for its status."""
        assert answer.status_code == status, answer.text
        full = f"/api/v1{path}"
        if status < 400:
            self._left.discard((method, full))
        assert_as_documented(
            self._spec,
            method=method,
            path=full,
            status=status,
            mimetype=answer.mimetype,
            body=answer.json,
        )

    def untouched(self) -> set[tuple[str, str]]:
        return self._left


def end_job(job_id: int, status: str) -> None:
    with transaction() as session:
        job = session.get_one(Job, job_id)
        job.status, job.finished_at = status, datetime.now(UTC)


def filled(body: dict[str, Any], cast: Cast) -> dict[str, Any]:
    return {**body, "user_id": cast.customer.id} if "user_id" in body else body
