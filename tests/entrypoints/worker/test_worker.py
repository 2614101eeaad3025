"""`billtrack worker`: what runs is finished first, and rendering processes may die."""

from __future__ import annotations

import contextlib
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
    warm_renderers,
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


def is_pending(pid: int, number: signal.Signals) -> bool:
    """Tell whether the process has not yet taken a signal that was sent to it."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [int(line.split()[1], 16) for line in status.splitlines() if "Pnd:" in line]
    return any(mask & 1 << number - 1 for mask in masks)


def thread_count(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


@contextlib.contextmanager
def rendering_halted(worker: Running) -> Iterator[None]:
    """Halt the rendering processes, so reports that are being made stay so until the end."""
    eventually(lambda: len(warm_renderers(worker.pid)) == THREADS, lambda: worker.text)
    processes = renderers(worker.pid)
    for process in processes:
        os.kill(process, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(ProcessLookupError):  # it may have ended with the worker
                os.kill(process, signal.SIGCONT)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_finishes_what_runs_when_asked_to_stop(
    embedded: Installation, worker: Running, number: signal.Signals
) -> None:
    started = []
    with rendering_halted(worker):
        # Short ones: the worker waits 25 seconds at most, on a slow machine too.
        request_reports(embedded, THREADS + 1, days=5)
        wait_until_running(embedded, worker, THREADS)
        started = descendants(worker.pid)
        worker.process.send_signal(number)
        eventually(lambda: not is_pending(worker.pid, number), lambda: worker.text)
    assert worker.wait() == 0
    assert statuses(embedded) == ["completed"] * THREADS + ["queued"]
    assert attempts(embedded) == [1, 1, 0]
    assert len(started) >= THREADS
    assert_all_end(started)
    assert "Traceback" not in worker.text


def test_it_stops_at_once_when_asked_again_and_the_job_is_done_anew(
    embedded: Installation, worker: Running
) -> None:
    with rendering_halted(worker):
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
    threads = thread_count(worker.pid)
    for idle in renderers(worker.pid):
        os.kill(idle, signal.SIGKILL)
    # The pool notices within a second and ends its threads; the next job begins another.
    eventually(lambda: thread_count(worker.pid) < threads, lambda: worker.text)
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
