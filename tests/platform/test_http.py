"""What every answer has in common: request ids, headers, one shape of error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NoReturn

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from billtrack.core.errors import UnavailableError
from billtrack.entrypoints.app import create_app
from tests.cast import Cast
from tests.conftest import make_settings

pytestmark = pytest.mark.one_database


@pytest.fixture
def bare(tmp_path: Path) -> FlaskClient:
    """A client of an app that has no database yet."""
    app = create_app(make_settings(tmp_path, public_url="https://billing.example.com"))
    return app.test_client()


@pytest.mark.parametrize("given", ["abcdefgh", "A.b_c-" + "9" * 58])
def test_it_takes_over_a_request_id(bare: FlaskClient, given: str) -> None:
    assert request_id(bare, given) == given


@pytest.mark.parametrize("given", ["short", "x" * 65, "with space", "<script>alert", "abcdefgh\t"])
def test_it_makes_a_request_id_in_place_of_what_is_none(bare: FlaskClient, given: str) -> None:
    assert re.fullmatch("[0-9a-f]{16}", request_id(bare, given))


@pytest.mark.parametrize("path", ["/api/v1/me", "/sign-in", "/nothing", "/static/css/tokens.css"])
def test_it_sends_security_headers_with_everything(bare: FlaskClient, path: str) -> None:
    headers = bare.get(path, buffered=True).headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Strict-Transport-Security"].startswith("max-age=")
    assert headers["X-Request-Id"]
    if not path.startswith("/static"):
        assert headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (RuntimeError("secret detail"), 500, "internal_error"),
        (OperationalError("SELECT secret", {}, Exception("secret")), 503, "unavailable"),
        (PoolTimeout("secret"), 503, "unavailable"),
        (IntegrityError("INSERT secret", {}, Exception("secret")), 409, "conflict"),
        (UnavailableError("The queue is away."), 503, "unavailable"),
    ],
)
def test_it_answers_errors_without_their_insides(
    bare: FlaskClient, error: Exception, status: int, code: str
) -> None:
    def fail() -> NoReturn:
        raise error

    bare.application.view_functions["api.list_meters"] = fail
    answer = bare.get("/api/v1/meters")
    problem = answer.get_json()
    assert (answer.status_code, problem["code"], problem["status"]) == (status, code, status)
    assert answer.mimetype == "application/problem+json"
    assert "secret" not in answer.text
    assert ("Retry-After" in answer.headers) is (status == 503)
    page = bare.get("/api/v1/meters", headers={"Accept": "text/html"})
    assert page.mimetype == "application/problem+json"


def test_it_says_what_a_path_allows(bare: FlaskClient) -> None:
    answer = bare.delete("/api/v1/usage")
    assert answer.status_code == 405
    assert {"GET", "POST"} & set(answer.headers["Allow"].replace(",", "").split())


def test_it_answers_browsers_with_a_page(bare: FlaskClient) -> None:
    answer = bare.get("/nothing-here")
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert answer.headers["X-Request-Id"] in answer.text


def test_it_never_redirects_an_api_call(app: APIFlask, cast: Cast) -> None:
    body = {"quantity": 1, "event": "api_calls", "user_id": cast.customer.id}
    for slash in ("", "/"):
        made = cast.provider.post(f"/api/v1/usage{slash}", body)
        assert made.status_code == 201
        assert cast.provider.get(f"/api/v1/usage{slash}").status_code == 200
        reverse = f"/api/v1/usage/{made.get_json()['id']}/reverse{slash}"
        assert cast.admin.post(reverse, {"reason": "r"}).status_code == 201


def request_id(client: FlaskClient, given: str) -> str:
    answer = client.get("/api/v1/nothing", headers={"X-Request-Id": given})
    told = answer.headers["X-Request-Id"]
    assert answer.get_json()["request_id"] == told
    return told


def test_the_cookie_belongs_to_this_host_and_to_https(tmp_path: Path) -> None:
    secure = create_app(make_settings(tmp_path, public_url="https://billing.example.com"))
    answer = secure.test_client().get("/forgot-password", base_url="https://billing.example.com")
    assert answer.status_code == 200
    (cookie,) = answer.headers.getlist("Set-Cookie")
    name, *attributes = cookie.split("; ")
    assert name.startswith("__Host-billtrack_session=")
    assert {"Secure", "HttpOnly", "Path=/", "SameSite=Lax"} <= set(attributes)
    assert not any(attribute.startswith("Domain") for attribute in attributes)
    plain = create_app(make_settings(tmp_path)).test_client().get("/forgot-password")
    assert plain.headers["Set-Cookie"].startswith("billtrack_session=")
    assert "Secure" not in plain.headers["Set-Cookie"]
