"""What running processes tell: JSON logs and metrics, counted by all of them together."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from billtrack.accounts.users.permissions import Role
from billtrack.platform.metrics.sharing import PREFIX
from tests.scenarios.accounts import create_account
from tests.scenarios.harness import Installation, Running, eventually
from tests.scenarios.jobs import create_busy_customer, request_reports, wait_for_all
from tests.services.processes import free_port

TOKEN = "a token of the tests alone"
RECORD = {"quantity": 1, "event": "api_calls", "user_id": 1}


@pytest.fixture
def observed(sqlite_template: Path, tmp_path: Path) -> Iterator[Installation]:
    """A set-up installation that is asked to tell, with temporary folders of its own."""
    data, temporary = tmp_path / "data", tmp_path / "tmp"
    for folder in (data, temporary):
        folder.mkdir()
    shutil.copy(sqlite_template, data / "billtrack.db")
    made = Installation(
        data,
        BILLTRACK_LOG_FORMAT="json",
        BILLTRACK_METRICS_TOKEN=TOKEN,
        BILLTRACK_WEB_WORKERS="2",
        TMPDIR=str(temporary),
    )
    create_busy_customer(made)
    yield made
    made.close()


def folders(installation: Installation) -> list[Path]:
    """Return the folders in which processes count together."""
    return list(Path(installation.environment["TMPDIR"]).glob(f"{PREFIX}*"))


def scrape(installation: Installation) -> dict[str, float]:
    """Return every sample by its name and the values of its labels."""
    answer = installation.ask("GET", "/metrics", key=TOKEN)
    assert answer.status == 200, answer.text
    return {
        " ".join([sample.name, *(sample.labels[name] for name in sorted(sample.labels))]): (
            sample.value
        )
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def accepted(installation: Installation) -> float:
    return scrape(installation).get("billtrack_usage_records_total accepted", 0)


def measured_pids(installation: Installation) -> set[int]:
    name = "process_resident_memory_bytes "
    return {int(key.removeprefix(name)) for key in scrape(installation) if key.startswith(name)}


def wait_for_web(process: Running) -> list[int]:
    """Wait until both web workers serve; return their process ids."""
    for number in (1, 2):
        process.wait_for(f"Started worker-{number}")
    return [int(process.wait_for(rf"worker-{n} with PID: (\d+)")[1]) for n in (1, 2)]


def test_all_processes_of_up_count_together_and_outlive_their_deaths(
    observed: Installation,
) -> None:
    provider = create_account(observed, Role.PROVIDER, "meter@test.example")

    def record(times: int) -> None:
        for _ in range(times):
            body = {"records": [RECORD]}
            sent = observed.ask("POST", "/api/v1/usage/batch", key=provider.key, body=body)
            assert sent.status == 200

    with observed.start("up") as up:
        up.wait_for("Press Ctrl-C")
        web = wait_for_web(up)
        eventually(observed.answers, lambda: up.text)
        record(30)
        assert {accepted(observed) for _ in range(8)} == {30}
        request_reports(observed, 1, days=5)
        wait_for_all(observed, up)
        done = "billtrack_job_duration_seconds_count usage_report completed"
        eventually(lambda: scrape(observed).get(done) == 1, lambda: scrape(observed))
        assert scrape(observed)["billtrack_render_duration_seconds_count rendered"] == 1
        assert len(folders(observed)) == 1
        eventually(lambda: set(web) < measured_pids(observed), lambda: measured_pids(observed))

        os.kill(web[0], signal.SIGKILL)
        up.wait_for("Respawning worker-1")
        eventually(lambda: up.text.count('"Started worker-1"') == 2, lambda: up.text)
        assert accepted(observed) == 30
        assert web[0] not in measured_pids(observed)
        record(10)
        assert {accepted(observed) for _ in range(8)} == {40}
        assert up.stop() == 0

    assert folders(observed) == []
    lines = [json.loads(line) for line in up.lines]
    requests = [line for line in lines if line.get("path") == "/api/v1/usage/batch"]
    assert len(requests) == 40
    assert {line["user_id"] for line in requests} == {provider.id}
    assert {line["status"] for line in requests} == {200}
    assert all(line["key_id"] and line["request_id"] for line in requests)
    assert provider.key not in up.text
    assert TOKEN not in up.text


def test_the_web_alone_clears_away_what_its_workers_shared(observed: Installation) -> None:
    with observed.start("serve") as serve:
        wait_for_web(serve)
        eventually(observed.answers, lambda: serve.text)
        assert observed.ask("GET", "/api/v1/health/live").status == 200
        assert len(folders(observed)) == 1
        assert serve.stop() == 0
    assert folders(observed) == []


def test_a_worker_alone_answers_on_a_port_of_its_own(observed: Installation) -> None:
    observed.port = free_port()
    observed.environment["BILLTRACK_WORKER_PORT"] = str(observed.port)
    with observed.start("worker") as worker:
        worker.wait_for("worker_started")
        assert observed.ask("GET", "/api/v1/health/live").json == {"status": "ok"}
        assert observed.ask("GET", "/metrics").status == 401
        assert observed.ask("GET", "/api/v1/users").status == 404
        request_reports(observed, 1, days=5)
        wait_for_all(observed, worker)
        done = "billtrack_job_duration_seconds_count usage_report completed"
        eventually(lambda: scrape(observed).get(done) == 1, lambda: worker.text)
        assert scrape(observed)["billtrack_render_duration_seconds_count rendered"] == 1
        assert worker.stop() == 0
    assert folders(observed) == []
    assert all(json.loads(line)["timestamp"] for line in worker.lines)
