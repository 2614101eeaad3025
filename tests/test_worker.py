"""`billtrack worker`: what runs is finished first, and rendering processes may die."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.harness import (
    Installation,
    Running,
    assert_all_end,
    descendants,
    eventually,
    renderers,
    seconds_at_work,
)
from tests.scenarios.jobs import (
    assert_files_are_whole,
    attempts,
    create_busy_customer,
    let_leases_run_out,
    progress,
    request_reports,
    statuses,
    wait_for_all,
)

THREADS = 2


@pytest.fixture
def embedded(sqlite_template: Path, tmp_path: Path) -> Iterator[Installation]:
    """A set-up installation on SQLite with a busy customer."""
    shutil.copy(sqlite_template, tmp_path / "billtrack.db")
    made = Installation(tmp_path)
    create_busy_customer(made)
    yield made
    made.close()


@pytest.fixture
def worker(embedded: Installation) -> Iterator[Running]:
    with embedded.start("worker") as worker:
        yield worker


def wait_until_running(installation: Installation, worker: Running, count: int) -> None:
    eventually(lambda: statuses(installation).count("running") == count, lambda: worker.text)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_finishes_what_runs_when_asked_to_stop(
    embedded: Installation, worker: Running, number: signal.Signals
) -> None:
    request_reports(embedded, THREADS + 1)
    wait_until_running(embedded, worker, THREADS)
    started = descendants(worker.pid)
    assert worker.stop(number) == 0
    assert statuses(embedded) == ["completed"] * THREADS + ["queued"]
    assert attempts(embedded) == [1, 1, 0]
    assert len(started) >= THREADS
    assert_all_end(started)
    assert "Traceback" not in worker.text


def test_it_stops_at_once_when_asked_again_and_the_job_is_done_anew(
    embedded: Installation, worker: Running
) -> None:
    request_reports(embedded, 1)
    wait_until_running(embedded, worker, 1)
    while worker.process.poll() is None:
        worker.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    assert statuses(embedded) == ["running"]
    let_leases_run_out(embedded)
    with embedded.start("worker") as next_worker:
        wait_for_all(embedded, next_worker)
    assert attempts(embedded) == [2]
    assert_files_are_whole(embedded)


def test_an_idle_rendering_process_may_be_killed(embedded: Installation, worker: Running) -> None:
    request_reports(embedded, THREADS, days=5)
    wait_for_all(embedded, worker)
    for idle in renderers(worker.pid):
        os.kill(idle, signal.SIGKILL)
    time.sleep(1)  # the pool looks after its processes several times a second
    request_reports(embedded, THREADS, days=5)
    wait_for_all(embedded, worker)
    assert attempts(embedded) == [1, 1, 1, 1]


def test_a_job_is_tried_again_when_its_rendering_process_is_killed(
    embedded: Installation, worker: Running
) -> None:
    request_reports(embedded, 1, days=5)
    wait_for_all(embedded, worker)
    processes = renderers(worker.pid)
    idle = sum(map(seconds_at_work, processes))
    request_reports(embedded, 1)
    eventually(lambda: progress(embedded) == [100, 30], lambda: worker.text)
    # Rendering has begun, and takes far longer.
    eventually(lambda: sum(map(seconds_at_work, processes)) > idle + 0.1, lambda: worker.text)
    for process in processes:
        os.kill(process, signal.SIGKILL)
    worker.wait_for("job_interrupted")
    let_leases_run_out(embedded)
    wait_for_all(embedded, worker)
    assert attempts(embedded) == [1, 2]
    assert_files_are_whole(embedded)
