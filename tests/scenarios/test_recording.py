"""Machines record and ask for reports while parts are killed: nothing is lost, nothing twice."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from tests.effort import times
from tests.scenarios.conftest import Site
from tests.scenarios.harness import (
    Answer,
    Installation,
    assert_all_end,
    command_line,
    descendants,
    eventually,
)
from tests.scenarios.load import Load, wait_for_a_third
from tests.services import (
    GivenPostgresServer,
    GivenRedisServer,
    PostgresServer,
    RedisServer,
    start_postgres,
    start_redis,
    unique_name,
)

CLIENTS = 6
ROUNDS = 12


@dataclass(frozen=True)
class Stage:
    """A running installation with services of its own, each of which may be killed."""

    site: Site
    database: PostgresServer | GivenPostgresServer | None = None
    queue: RedisServer | GivenRedisServer | None = None

    def processes(self, words: str) -> list[int]:
        """Return the processes of the installation whose command has these words, oldest first."""
        return [pid for pid in descendants(self.site.up.pid) if words in command_line(pid)]


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """On SQLite, with the queue in a file."""
    installation = Installation(tmp_path_factory.mktemp("embedded"))
    stage = Stage(Site(installation))
    yield stage
    assert stage.site.up.stop() == 0
    installation.close()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """On PostgreSQL, whose commits are on the disk, and Redis."""
    with contextlib.ExitStack() as cleaning:
        database, queue = start_postgres(fsync=True), start_redis()
        cleaning.callback(database.close)
        cleaning.callback(queue.close)
        name = unique_name()
        url = database.create_database(name)
        cleaning.callback(database.drop_database, name)
        folder = tmp_path_factory.mktemp("served")
        installation = Installation(folder, database_url=url, redis_url=queue.url)
        cleaning.callback(installation.close)
        stage = Stage(Site(installation), database, queue)
        yield stage
        assert stage.site.up.stop() == 0


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        yield pool


def kill_web(stage: Stage) -> None:
    """Kill a process that answers; Granian's first process forks another."""
    processes = 1 + stage.site.installation.settings.web_workers
    eventually(lambda: len(stage.processes("granian")) == processes, lambda: stage.site.up.text)
    os.kill(stage.processes("granian")[-1], signal.SIGKILL)


def kill_worker(stage: Stage) -> None:
    eventually(
        lambda: stage.processes("billtrack.entrypoints.cli.main worker"), lambda: stage.site.up.text
    )
    os.kill(stage.processes("billtrack.entrypoints.cli.main worker")[0], signal.SIGKILL)


def kill_everything(stage: Stage) -> None:
    started = descendants(stage.site.up.pid)
    stage.site.up.kill9()
    assert_all_end(started)
    stage.site.restart()


def kill_database(stage: Stage) -> None:
    assert stage.database is not None
    stage.database.kill9()
    stage.database.restart()


def kill_queue(stage: Stage) -> None:
    assert stage.queue is not None
    stage.queue.kill9()
    stage.queue.restart()


PARTS = (kill_web, kill_worker, kill_everything)
SERVICES = (kill_database, kill_queue)
INTERRUPT_JOBS = {kill_worker, kill_everything, kill_database}


@pytest.mark.by_chance
@pytest.mark.parametrize("kill", PARTS)
def test_nothing_is_lost_or_doubled_when_embedded(
    embedded: Stage, kill: Callable[[Stage], None], pool: ThreadPoolExecutor
) -> None:
    record_while(kill, embedded, pool)


@pytest.mark.by_chance
@pytest.mark.parametrize("kill", [*PARTS, *SERVICES])
def test_nothing_is_lost_or_doubled_on_postgresql_and_redis(
    served: Stage, kill: Callable[[Stage], None], pool: ThreadPoolExecutor
) -> None:
    record_while(kill, served, pool)


def record_while(kill: Callable[[Stage], None], stage: Stage, pool: ThreadPoolExecutor) -> None:
    load = Load(stage.site.installation)
    answers = load.start(pool)
    wait_for_a_third(answers)
    died_at = datetime.now(UTC) if kill in INTERRUPT_JOBS else None
    kill(stage)
    for answer in answers:
        answer.result()
    load.assert_all_is_well(stage.site.up, died_at=died_at)


@pytest.mark.parametrize("stage", ["embedded", "served"])
def test_two_that_record_the_same_key_at_once_get_the_same_record(
    request: pytest.FixtureRequest, stage: str, pool: ThreadPoolExecutor
) -> None:
    site: Site = request.getfixturevalue(stage).site
    load = Load(site.installation)
    start = threading.Barrier(2)

    def send(key: str) -> Answer:
        start.wait()
        return load.record(key, usage)

    for _ in range(times(ROUNDS)):
        key, usage = load.new()
        first, second = pool.map(send, [key, key])
        assert sorted([first.status, second.status]) == [200, 201], first.text + second.text
        assert first.json["id"] == second.json["id"]
    load.assert_all_is_well(site.up)
