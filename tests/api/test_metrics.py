"""/metrics: who may read it, what it counts, and that the documentation lists all of it."""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from werkzeug.test import TestResponse

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Role
from billtrack.api.metrics import _pids
from billtrack.billing.month_totals.operations import refresh
from billtrack.billing.statements.queries import Terms
from billtrack.core.errors import InvalidError
from billtrack.entrypoints.app import create_app
from billtrack.platform.config import ConfigError, Settings, load_settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.platform.installation.operations import beat
from billtrack.platform.jobs import operations
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.runner import Run, Runner
from billtrack.platform.metrics.counting import count_rendering
from billtrack.platform.metrics.sharing import VARIABLE
from tests.cast import SYSTEM, Cast, create_cast

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a token of the tests alone"
NOW = datetime(2026, 10, 5, 12, 0, tzinfo=UTC)
ROW = re.compile(r"^\| `(\w+)` \| (\w+) \|([^|]*)\| [^|]+ \|$", re.MULTILINE)

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def counting(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[APIFlask]:
    """An app that counts, on a fresh database, with an app context."""
    monkeypatch.setattr(operations, "ring", lambda _job_id: None)
    app = create_app(settings.model_copy(update={"metrics_token": SecretStr(TOKEN)}))
    app.testing = True
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


@pytest.fixture
def members(counting: APIFlask) -> Cast:
    return create_cast()


def scrape(app: APIFlask) -> str:
    answer = ask(app, f"Bearer {TOKEN}")
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    return answer.text


def ask(app: APIFlask, authorization: str | None) -> TestResponse:
    headers = {} if authorization is None else {"Authorization": authorization}
    return app.test_client().get("/metrics", headers=headers)


def values(app: APIFlask) -> Values:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(scrape(app))
        for sample in family.samples
    }


def value(app: APIFlask, name: str, **labels: str) -> float | None:
    return values(app).get((f"billtrack_{name}", frozenset(labels.items())))


def test_without_a_token_in_the_settings_there_is_no_such_page(app: APIFlask) -> None:
    for authorization in (None, "Bearer ", "Bearer None", f"Bearer {TOKEN}"):
        assert ask(app, authorization).status_code == 404


@pytest.mark.parametrize(
    "authorization",
    [
        *(None, "", TOKEN, f"Basic {TOKEN}", "Bearer", "Bearer "),
        *(f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}"),
    ],
)
def test_only_the_token_opens_it(counting: APIFlask, authorization: str | None) -> None:
    answer = ask(counting, authorization)
    assert answer.status_code == 401
    assert answer.get_json()["code"] == "unauthenticated"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "billtrack_build_info" not in answer.text


def test_no_account_opens_it(counting: APIFlask, members: Cast) -> None:
    assert members.admin.get("/metrics").status_code == 401


@pytest.mark.parametrize("weak", ["x" * 15, "change-me-change-me", "secret secret secret"])
def test_a_weak_token_is_refused_at_the_start(
    weak: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILLTRACK_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("BILLTRACK_METRICS_TOKEN", weak)
    with pytest.raises(ConfigError, match=r"BILLTRACK_METRICS_TOKEN: .*16 random"):
        load_settings()


def test_it_counts_requests_by_pattern(counting: APIFlask, members: Cast) -> None:
    for number in (1, 2, 3):
        members.admin.get(f"/api/v1/usage/{number}")
    members.admin.get("/api/v1/meters")
    client = counting.test_client()
    client.get("/no/such/page")
    client.get("/another-one")
    client.open("/no/such/page", method="INVENTED")
    client.get("/static/css/tokens.css").close()
    found = values(counting)
    counts = {
        tuple(sorted(dict(labels).values())): number
        for (name, labels), number in found.items()
        if name == "billtrack_request_duration_seconds_count"
    }
    assert counts == {
        ("/api/v1/usage/<id:record_id>", "4xx", "GET"): 3,
        ("/api/v1/meters", "2xx", "GET"): 1,
        ("4xx", "GET", "none"): 2,
        ("4xx", "none", "other"): 1,
    }


def test_it_counts_what_intake_decides(counting: APIFlask, members: Cast) -> None:
    record = {"quantity": 1, "event": "api_calls", "user_id": members.customer.id}
    keyed = {**record, "idempotency_key": "k"}
    assert members.provider.post("/api/v1/usage/", keyed).status_code == 201
    assert members.provider.post("/api/v1/usage/", keyed).status_code == 200
    assert members.provider.post("/api/v1/usage/", {**keyed, "quantity": 2}).status_code == 409
    unknown = {**record, "event": "nothing"}
    assert members.provider.post("/api/v1/usage/", unknown).status_code == 422
    batch = {"records": [record, record, unknown, {**record, "quantity": 0}]}
    assert members.provider.post("/api/v1/usage/batch", batch).status_code == 200
    for records in (batch["records"], [record, unknown]):
        whole = {"records": records}
        refused = members.provider.post("/api/v1/usage/batch?on_error=reject", whole)
        assert refused.status_code == 422
    for _ in range(2):
        members.admin.post("/api/v1/usage/1/reverse", {"reason": "r"})
    found = values(counting)
    assert {
        dict(labels)["outcome"]: number
        for (name, labels), number in found.items()
        if name == "billtrack_usage_records_total"
    } == {"accepted": 3, "duplicate": 1, "conflict": 1, "rejected": 5, "reversed": 1}


def complete(_run: Run) -> Callable[[], None]:
    return lambda: None


def refuse(_run: Run) -> Callable[[], None]:
    raise InvalidError("no")


def crash(_run: Run) -> Callable[[], None]:
    raise ZeroDivisionError


def interrupt(_run: Run) -> Callable[[], None]:
    raise OperationalError("SELECT", {}, Exception("away"))


def be_late(run: Run) -> Callable[[], None]:
    with transaction():
        operations.sweep(now=datetime.now(UTC) + operations.LEASE * 2)
    return lambda: None


def refuse_late(run: Run) -> Callable[[], None]:
    be_late(run)
    raise InvalidError("no")


def enqueue(kind: str, now: datetime = NOW) -> int:
    with transaction():
        return operations.enqueue(kind, actor=SYSTEM, now=now, payload={}).id


def test_it_counts_attempts_at_jobs_by_how_they_end(counting: APIFlask) -> None:
    handlers = {
        "a": complete,
        "b": refuse,
        "c": crash,
        "d": interrupt,
        "e": be_late,
        "f": refuse_late,
    }
    runner = Runner(handlers, worker_id="w")
    for kind in handlers:
        runner.run(enqueue(kind))
    found = values(counting)
    assert {
        (dict(labels)["kind"], dict(labels)["result"]): number
        for (name, labels), number in found.items()
        if name == "billtrack_job_duration_seconds_count"
    } == {
        ("a", "completed"): 1,
        ("b", "failed"): 1,
        ("c", "failed"): 1,
        ("d", "interrupted"): 1,
        ("e", "superseded"): 1,
        ("f", "superseded"): 1,
    }


def test_it_tells_how_the_queue_is(counting: APIFlask) -> None:
    assert value(counting, "jobs", status="queued") == 0
    assert value(counting, "oldest_queued_job_age_seconds") == 0
    assert value(counting, "workers") == 0
    now = datetime.now(UTC)
    with transaction():
        beat("worker-1", now=now)
        beat("worker-2", now=now - timedelta(minutes=1))
    for ago in (30, 600, 60):
        enqueue("a", now - timedelta(seconds=ago))
    enqueue(operations.GROUP, now - timedelta(days=1))
    done, tried = enqueue("a", now - timedelta(days=2)), enqueue("b", now - timedelta(days=2))
    runner = Runner({"a": complete, "b": refuse}, worker_id="w")
    runner.run(done)
    runner.run(tried)
    assert value(counting, "jobs", status="queued") == 3
    assert value(counting, "jobs", status="completed") == 1
    assert value(counting, "jobs", status="failed") == 1
    assert value(counting, "jobs", status="running") == 0
    assert value(counting, "workers") == 1
    assert 600 <= (value(counting, "oldest_queued_job_age_seconds") or 0) < 1000


def test_a_job_that_is_tried_again_waits_since_its_last_attempt(counting: APIFlask) -> None:
    job_id = enqueue("b", datetime.now(UTC) - timedelta(days=2))
    Runner({"b": refuse}, worker_id="w").run(job_id)
    with transaction() as session:
        job = session.get_one(Job, job_id)
        operations.retry(job, actor=SYSTEM, now=datetime.now(UTC))
    assert value(counting, "jobs", status="queued") == 1
    assert (value(counting, "oldest_queued_job_age_seconds") or 0) < 600


def test_it_measures_only_processes_that_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    own = tmp_path / f"histogram_{os.getpid()}.db"
    own.write_bytes(b"x" * mmap.PAGESIZE)
    (tmp_path / "histogram_999999999.db").touch()
    assert _pids() == set(), "the number belongs to another process by now"
    with own.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        assert _pids() == {str(os.getpid())}


def test_with_the_database_away_it_still_tells_what_was_counted(counting: APIFlask) -> None:
    counting.test_client().get("/api/v1/health/live")
    with transaction() as session:
        session.execute(text("ALTER TABLE jobs RENAME TO jobs_away"))
    found = values(counting)
    assert found["billtrack_database_up", frozenset()] == 0
    assert ("billtrack_workers", frozenset()) not in found
    assert any(name == "billtrack_request_duration_seconds_count" for name, _ in found)


def test_the_documentation_lists_every_metric_and_no_other(
    counting: APIFlask, members: Cast
) -> None:
    record = {"quantity": 1, "event": "api_calls", "user_id": members.customer.id}
    members.provider.post("/api/v1/usage/", record)
    Runner({"a": complete}, worker_id="w").run(enqueue("a"))
    count_rendering(result="rendered", seconds=0.5)
    keep_figures_of_this_month()
    offered: dict[str, tuple[str, set[str]]] = {}
    for family in text_string_to_metric_families(scrape(counting)):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        offered[family.name] = (family.type, labels)
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    documented = {
        name: (kind, set(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels in ROW.findall(page)
    }
    assert documented == offered


def keep_figures_of_this_month() -> None:
    """Keep what is only kept for many customers."""
    now = datetime.now(UTC)
    people: list[dict[str, Any]] = [
        {"email": f"{n}@many.example", "name": "N", "role": Role.CUSTOMER, "created_at": now}
        for n in range(60)
    ]
    with transaction() as session:
        session.add_all([User(**person) for person in people])
    assert refresh(terms=Terms(current_calendar(), "USD", now))
