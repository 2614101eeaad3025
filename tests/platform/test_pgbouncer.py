"""billtrack behind PgBouncer in transaction mode, with fewer connections than it has threads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from apiflask import APIFlask
from sqlalchemy import func, select, text
from werkzeug.test import TestResponse

from billtrack.accounts.users.permissions import Role
from billtrack.core.periods import Month
from billtrack.documents.reports.operations import request_report
from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.setup.initialise import initialise
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.platform.jobs import operations
from billtrack.usage.ingest.intake import submit
from billtrack.usage.records.models import UsageDaily, UsageRecord
from billtrack.usage.records.submissions import UsageInput
from billtrack.usage.records.verification import verify
from tests.cast import (
    PASSWORD,
    SYSTEM,
    Cast,
    create_cast,
    create_record,
    create_user,
    sign_in,
    terms,
)
from tests.conftest import make_settings
from tests.scenarios.accounts import create_account
from tests.scenarios.harness import Installation, eventually
from tests.services import PgBouncer, PostgresServer, start_pgbouncer, unique_name
from tests.usage.racing import in_processes, in_threads

WRITERS = 8


@pytest.fixture(scope="module")
def bouncer(postgres: PostgresServer) -> Iterator[PgBouncer]:
    server = start_pgbouncer(postgres, pool_size=2)
    yield server
    server.close()


@pytest.fixture
def url(bouncer: PgBouncer, postgres: PostgresServer, postgres_template: str) -> Iterator[str]:
    name = unique_name()
    postgres.create_database(name, template=postgres_template)
    yield bouncer.url_of(name)
    postgres.drop_database(name)


@pytest.fixture
def app(url: str, tmp_path: Path) -> Iterator[APIFlask]:
    app = create_app(
        make_settings(tmp_path, database_url=url, pgbouncer=True), statement_seconds=30
    )
    app.testing = True
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def cast(app: APIFlask) -> Cast:
    return create_cast()


def status_of(answer: TestResponse) -> int:
    """Return the status once the request has let go of its connection.

    On a server that is its end; here the session is the thread's, for all of its requests.
    """
    db.session.remove()
    return answer.status_code


def test_a_new_database_is_set_up_through_it(
    bouncer: PgBouncer, postgres: PostgresServer, tmp_path: Path
) -> None:
    name = unique_name()
    postgres.create_database(name)
    settings = make_settings(tmp_path, database_url=bouncer.url_of(name), pgbouncer=True)
    with create_app(settings).app_context():
        for _ in range(2):
            initialise(settings, now=datetime.now(UTC))
        db.session.remove()
        db.engine.dispose()
    postgres.drop_database(name)


@pytest.mark.by_chance
def test_many_threads_record_each_key_once(app: APIFlask, cast: Cast) -> None:
    body = {"user_id": cast.customer.id, "event": "api_calls", "quantity": 10}

    def send() -> list[int]:
        keys = [{**body, "idempotency_key": f"key-{n}"} for n in range(6)]
        return [status_of(cast.provider.post("/api/v1/usage/", key)) for key in keys]

    answers = in_threads(app, [send] * WRITERS)
    for of_one_key in zip(*answers, strict=True):
        assert sorted(of_one_key) == [200] * (WRITERS - 1) + [201]
    assert totals() == (6, 60)


@pytest.mark.by_chance
def test_many_processes_record_each_key_once(app: APIFlask, cast: Cast) -> None:
    body = {"user_id": cast.customer.id, "event": "api_calls", "quantity": 10}
    headers = {"Authorization": f"Bearer {cast.provider.key}"}
    keys = [{**body, "idempotency_key": f"key-{n}"} for n in range(6)]
    calls = [("POST", "/api/v1/usage/", key, headers) for key in keys]
    settings = app.extensions["billtrack.settings"]
    answers = in_processes(settings, calls, times=2)
    for of_one_key in zip(*answers, strict=True):
        assert sorted(status for status, _ in of_one_key) == [200, 201]
    assert totals() == (6, 60)


def test_reading_again_and_again_prepares_nothing_that_outlives_a_transaction(
    app: APIFlask, cast: Cast
) -> None:
    create_record(cast, quantity=500_000)
    paths = ["/api/v1/usage", f"/api/v1/users/{cast.customer.id}/statement", "/api/v1/plans"]

    def read() -> None:
        for path in paths * 8:
            assert status_of(cast.manager.get(path)) == 200

    in_threads(app, [read] * 4)
    statement = cast.manager.get(paths[1]).get_json()
    assert statement["total"] == "205.00"
    assert db.session.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 0


def test_only_a_transaction_writes_and_reads_keep_their_snapshot(app: APIFlask, cast: Cast) -> None:
    assert db.session.scalar(text("SHOW transaction_read_only")) == "on"
    assert totals() == (0, 0)
    in_threads(app, [lambda: create_record(cast)])
    assert totals() == (0, 0)  # one snapshot, whichever connection
    with transaction():
        assert db.session.scalar(text("SHOW transaction_isolation")) == "read committed"
        assert db.session.scalar(text("SHOW transaction_read_only")) == "off"
    assert totals() == (1, 1000)


@pytest.mark.by_chance
def test_a_job_is_claimed_by_one_of_many(app: APIFlask, cast: Cast) -> None:
    now = datetime.now(UTC)
    with transaction():
        days = Month.of(current_calendar().today(now)).dates
        report = request_report(cast.customer.user, days, file_format="csv", actor=SYSTEM, now=now)
    job_id = report.job_id

    def claim() -> int | None:
        with transaction():
            claimed = operations.claim(job_id, worker_id="w", now=now)
        return claimed.attempt if claimed else None

    assert sorted(in_threads(app, [claim] * WRITERS), key=str) == [1] + [None] * (WRITERS - 1)


def test_a_long_export_is_whole_and_rollups_equal_the_records(app: APIFlask, cast: Cast) -> None:
    now = datetime.now(UTC)
    inputs = [UsageInput(cast.customer.id, "api_calls", 1 + n, now) for n in range(2500)]
    submit(inputs, terms=terms(cast.provider))
    manager = create_user(role=Role.MANAGER, email="eva@test.example", password=PASSWORD)
    browser = app.test_client()
    sign_in(browser, manager)
    answer = browser.get("/usage/export.csv", buffered=True)
    rows = list(csv.DictReader(io.StringIO(answer.get_data(as_text=True).lstrip("\ufeff"))))
    assert sorted(int(row["Quantity"]) for row in rows) == list(range(1, 2501))
    assert all(not user.differences for user in verify(calendar=current_calendar()))


@pytest.mark.slow
def test_web_and_worker_run_behind_it(url: str, tmp_path: Path) -> None:
    site = Installation(tmp_path, database_url=url, BILLTRACK_PGBOUNCER="1")
    provider = create_account(site, Role.PROVIDER, "clock@test.example")
    with site.inside():
        customer = create_user(email="cora@test.example").id
    manager = create_account(site, Role.MANAGER, "eva@test.example")
    with site.start("up") as up:
        up.wait_for("billtrack is ready")
        body = {"user_id": customer, "event": "api_calls", "quantity": 500_000}
        assert site.ask("POST", "/api/v1/usage/", key=provider.key, body=body).status == 201
        asked = site.ask(
            "POST", f"/api/v1/reports/{customer}", key=manager.key, body={"format": "csv"}
        )
        path = f"/api/v1/reports/status/{asked.json['jobId']}"
        eventually(
            lambda: site.ask("GET", path, key=manager.key).json["status"] == "completed",
            lambda: up.text,
        )
        file = site.ask(
            "GET", site.ask("GET", path, key=manager.key).json["fileUrl"], key=manager.key
        )
        assert "205.00" in file.text
        assert up.stop() == 0
    site.close()
    assert "Traceback" not in up.text


def totals() -> tuple[int, int]:
    """Return how many records there are and what the rollups sum to."""
    count = db.session.scalar(select(func.count()).select_from(UsageRecord)) or 0
    total = db.session.scalar(select(func.coalesce(func.sum(UsageDaily.quantity), 0)))
    return count, int(total or 0)
