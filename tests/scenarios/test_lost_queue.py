"""The queue goes away or forgets: jobs wait in their rows and complete afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.harness import Installation, eventually
from tests.scenarios.jobs import (
    assert_files_are_whole,
    create_busy_customer,
    let_the_ring_die_away,
    request_reports,
    statuses,
    wait_for_all,
)
from tests.services import PostgresServer, RedisServer, start_redis, unique_name

COUNT = 4


@pytest.fixture
def queue() -> Iterator[RedisServer]:
    """A Redis of this test alone, to be killed."""
    server = start_redis()
    if not isinstance(server, RedisServer):
        pytest.skip("this Redis is not ours to stop")
    yield server
    server.close()


@pytest.fixture
def on_redis(
    queue: RedisServer, postgres: PostgresServer, postgres_template: str, tmp_path: Path
) -> Iterator[Installation]:
    name = unique_name()
    url = postgres.create_database(name, template=postgres_template)
    made = Installation(tmp_path, database_url=url, redis_url=queue.url)
    create_busy_customer(made)
    yield made
    made.close()
    postgres.drop_database(name)


def test_it_completes_what_was_queued_in_a_redis_that_forgot(
    on_redis: Installation, queue: RedisServer
) -> None:
    request_reports(on_redis, COUNT, days=5)
    queue.kill9()
    queue.restart()
    let_the_ring_die_away(on_redis)
    with on_redis.start("worker") as worker:
        wait_for_all(on_redis, worker)
    assert_files_are_whole(on_redis)


def test_a_worker_outlives_its_redis_and_goes_on(
    on_redis: Installation, queue: RedisServer
) -> None:
    with on_redis.start("worker") as worker:
        request_reports(on_redis, 1, days=5)
        wait_for_all(on_redis, worker)
        queue.kill9()
        request_reports(on_redis, COUNT, days=5)
        assert statuses(on_redis).count("queued") == COUNT
        worker.wait_for("queue_unavailable")
        queue.restart()
        let_the_ring_die_away(on_redis)
        wait_for_all(on_redis, worker)
        assert "Traceback" not in worker.text
        assert worker.stop() == 0


@pytest.mark.parametrize("installation", ["sqlite"], indirect=True)
def test_it_completes_what_was_queued_in_a_deleted_file(installation: Installation) -> None:
    create_busy_customer(installation)
    request_reports(installation, COUNT, days=5)
    for path in installation.folder.glob("queue.db*"):
        path.unlink()
    let_the_ring_die_away(installation)
    with installation.start("worker") as worker:
        wait_for_all(installation, worker)
    assert_files_are_whole(installation)


@pytest.mark.parametrize("installation", ["sqlite"], indirect=True)
def test_a_worker_goes_on_when_the_file_is_deleted_under_it(installation: Installation) -> None:
    create_busy_customer(installation)
    with installation.start("worker") as worker:
        worker.wait_for("worker_started")
        for path in installation.folder.glob("queue.db*"):
            path.unlink()
        request_reports(installation, COUNT, days=5)
        let_the_ring_die_away(installation)
        eventually(lambda: "completed" in statuses(installation), lambda: worker.text)
        wait_for_all(installation, worker)
