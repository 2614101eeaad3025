"""Probes: alive is who answers, ready is who can serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from apiflask import APIFlask
from pydantic import SecretStr
from sqlalchemy import text

from billtrack.entrypoints.app import create_app
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.conftest import make_settings

LIVE = "/api/v1/health/live"
READY = "/api/v1/health/ready"


@pytest.fixture
def nothing(tmp_path: Path) -> APIFlask:
    """An app without any database, queue or worker behind it."""
    return create_app(
        make_settings(
            tmp_path,
            database_url="postgresql://nobody@127.0.0.1:1/nothing",
            redis_url=SecretStr("redis://127.0.0.1:1/0"),
        )
    )


def test_it_is_alive_with_everything_else_away(nothing: APIFlask) -> None:
    answer = nothing.test_client().get(LIVE)
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ok"})


def test_it_is_not_ready_without_its_database(nothing: APIFlask) -> None:
    answer = nothing.test_client().get(READY)
    assert answer.status_code == 503
    assert answer.get_json() == {
        "status": "not_ready",
        "checks": {"database": "down", "migrations": "down"},
    }


def test_it_is_ready_without_queue_and_worker(settings: Settings) -> None:
    lonely = settings.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    app = create_app(lonely)
    client = app.test_client()
    answer = client.get(READY)
    assert (answer.status_code, answer.get_json()["status"]) == (200, "ready")
    assert client.get("/api/v1/health").status_code == 503
    with app.app_context():
        db.engine.dispose()


def test_it_is_not_ready_before_the_database_is_set_up(tmp_path: Path) -> None:
    app = create_app(make_settings(tmp_path))
    answer = app.test_client().get(READY)
    with app.app_context():
        db.engine.dispose()
    assert answer.status_code == 503
    assert answer.get_json()["checks"] == {"database": "ok", "migrations": "down"}


@pytest.mark.parametrize(("revision", "status"), [("0001", 503), ("one of a newer program", 200)])
def test_only_missing_migrations_put_it_out_of_service(
    app: APIFlask, revision: str, status: int
) -> None:
    assert app.test_client().get(READY).status_code == 200
    with transaction() as session:
        session.execute(
            text("UPDATE alembic_version SET version_num = :revision"), {"revision": revision}
        )
    assert app.test_client().get(READY).status_code == status
