"""A worker dies in the middle of reports: every one is completed, once and whole."""

from __future__ import annotations

import pytest

from tests.scenarios.harness import Installation, assert_all_end, eventually, renderers
from tests.scenarios.jobs import (
    assert_files_are_whole,
    attempts,
    create_busy_customer,
    let_leases_run_out,
    let_the_ring_die_away,
    request_reports,
    statuses,
    wait_for_all,
)

COUNT = 20


@pytest.fixture
def busy(installation: Installation) -> Installation:
    create_busy_customer(installation)
    request_reports(installation, COUNT, days=10)
    return installation


def is_half_way(installation: Installation) -> bool:
    now = statuses(installation)
    return now.count("completed") >= 3 and "running" in now


@pytest.mark.by_chance
def test_it_completes_every_report_after_kill_9_of_the_worker(busy: Installation) -> None:
    with busy.start("worker") as worker:
        eventually(lambda: is_half_way(busy), lambda: worker.text)
        rendering = renderers(worker.pid)
        worker.kill9()
    left = statuses(busy)
    assert_all_end(rendering)
    assert "running" in left
    assert 3 <= left.count("completed") < COUNT
    let_leases_run_out(busy)
    let_the_ring_die_away(busy)
    with busy.start("worker") as worker:
        wait_for_all(busy, worker)
    assert set(attempts(busy)) == {1, 2}
    assert_files_are_whole(busy)


@pytest.mark.by_chance
def test_the_other_worker_takes_over_after_kill_9_of_one(busy: Installation) -> None:
    with busy.start("worker") as lost, busy.start("worker") as other:
        for worker in (lost, other):
            worker.wait_for("worker_started")
        eventually(lambda: is_half_way(busy), lambda: lost.text)
        lost.kill9()
        let_leases_run_out(busy)
        let_the_ring_die_away(busy)
        wait_for_all(busy, other)
    assert_files_are_whole(busy)
