"""A forged host gets no answer, and no link is made of what a request says."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import update

from billtrack.accounts.users.models import ApiKey
from billtrack.entrypoints.app import create_app
from billtrack.platform.config import ConfigError, load_settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.usage.records.models import UsageRecord
from tests.cast import Cast
from tests.conftest import make_settings
from tests.dashboard.page import Visitor

pytestmark = pytest.mark.one_database

PACKAGE = Path(__file__).resolve().parents[2] / "billtrack"
EVIL = "evil.example"


@pytest.fixture
def bare(tmp_path: Path) -> FlaskClient:
    """A client of an app that has no database yet."""
    settings = make_settings(
        tmp_path,
        public_url="https://billing.example.com",
        trusted_hosts="intern.example.com",
    )
    return create_app(settings).test_client()


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/sign-in", "/forgot-password", "/set-up", "/nothing", "/static/css/tokens.css"),
        *("/api/v1/usage/1", "/api/v1/users", "/api/v1/nothing"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_answers_nothing_under_a_forged_host(bare: FlaskClient, path: str, method: str) -> None:
    answer = bare.open(path, method=method, headers={"Host": EVIL})
    assert answer.status_code == 400
    assert EVIL not in answer.text
    assert EVIL not in str(answer.headers)
    if path.startswith("/api/"):
        assert answer.get_json()["code"] == "untrusted_host"
    assert "https://billing.example.com" in answer.text


@pytest.mark.parametrize("host", ["billing.example.com", "intern.example.com:8443", "10.0.0.7"])
def test_it_answers_under_its_own(bare: FlaskClient, host: str) -> None:
    assert bare.get("/api/v1/users", headers={"Host": host}).status_code == 401


@pytest.mark.parametrize("path", ["/api/v1/health/live", "/metrics"])
@pytest.mark.parametrize("host", ["10.0.0.7:6009", "node-7.cluster.example", ""])
def test_probes_are_answered_under_any_name(bare: FlaskClient, path: str, host: str) -> None:
    expected = {"/api/v1/health/live": 200, "/metrics": 404}[path]
    assert bare.get(path, headers={"Host": host}).status_code == expected


def test_forwarded_hosts_are_looked_at_only_where_proxies_are_believed(tmp_path: Path) -> None:
    forged = {"X-Forwarded-Host": EVIL}
    for hops, status in ((0, 401), (1, 400)):
        app = create_app(make_settings(tmp_path, proxy_hops=hops))
        assert app.test_client().get("/api/v1/users", headers=forged).status_code == status


def test_the_short_way_is_closed_to_forged_hosts_too(app: APIFlask, cast: Cast) -> None:
    with transaction():  # seen just now: plain requests go the short way
        db.session.execute(update(ApiKey).values(used_at=datetime.now(UTC)))
    body = {"quantity": 5, "event": "api_calls", "user_id": cast.customer.id}
    forged = {"Host": EVIL}
    refused = cast.provider.post("/api/v1/usage/", body, headers=forged)
    assert (refused.status_code, refused.get_json()["code"]) == (400, "untrusted_host")
    assert db.session.query(UsageRecord).count() == 0


def test_the_key_page_names_the_public_address(app: APIFlask, cast: Cast) -> None:
    visitor = Visitor(app, cast.provider)
    form = {"name": "collector", "scopes": ["usage:read"], "expires": "90"}
    page = visitor.send(visitor.open("/settings/api-keys/new"), "/settings/api-keys", form)
    assert "http://localhost:6009/api/v1/me" in page.text


def test_no_link_is_made_of_what_a_request_says() -> None:
    """Absolute links come from BILLTRACK_PUBLIC_URL: a forged host, if it got in, changes none."""
    named = (
        "_external",
        "host_url",
        "url_root",
        "request.base_url",
        "request.url ",
        "request.host",
    )
    found = [
        f"{path.name}: {word}"
        for path in [*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.html")]
        for word in named
        if word in path.read_text(encoding="utf-8")
    ]
    assert found == []


def test_it_refuses_hosts_that_are_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BILLTRACK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("BILLTRACK_TRUSTED_HOSTS", "https://a.example")
    with pytest.raises(ConfigError, match=r"BILLTRACK_TRUSTED_HOSTS: .*without scheme"):
        load_settings()
