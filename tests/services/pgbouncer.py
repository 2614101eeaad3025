"""A PgBouncer in transaction mode before a PostgreSQL of the tests."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import psycopg

from tests.services.postgres import GivenPostgresServer, PostgresServer
from tests.services.processes import (
    as_account,
    end,
    free_port,
    is_missing,
    new_folder,
    postgres_account,
    remove_left_folders,
    wait_until,
)


class PgBouncer:
    """Lends each transaction one of few connections to the server behind it."""

    def __init__(
        self, program: Path, server: PostgresServer | GivenPostgresServer, *, pool_size: int
    ) -> None:
        self.port = free_port()
        self._program = program
        self._behind = urlsplit(server.url)
        self._pool_size = pool_size
        self._folder = new_folder()
        self._user = postgres_account()
        self._process: subprocess.Popen[bytes] | None = None

    def url_of(self, database: str) -> str:
        return f"postgresql://{self._behind.username}@127.0.0.1:{self.port}/{database}"

    def start(self) -> Self:
        """Start it and wait until it answers."""
        settings = self._folder / "pgbouncer.ini"
        settings.write_text(self._settings())
        if self._user is not None:  # it refuses to be root
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
            settings.chmod(0o644)
        with (self._folder / "log").open("ab") as log:
            command = as_account([str(self._program), str(settings)], self._user)
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd="/")
        wait_until(self._answers, self._process, self._folder / "log")
        return self

    def close(self) -> None:
        """Stop it and remove its folder."""
        end(self._process, signal.SIGTERM)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _settings(self) -> str:
        # Nothing in ignore_startup_parameters: what billtrack sends must be taken as it is.
        target = f"host={self._behind.hostname} port={self._behind.port or 5432}"
        if self._behind.password:
            target += f" password={self._behind.password}"
        return "\n".join(
            [
                "[databases]",
                f"* = {target} user={self._behind.username}",
                "[pgbouncer]",
                "listen_addr = 127.0.0.1",
                f"listen_port = {self.port}",
                "unix_socket_dir =",
                "auth_type = any",
                "pool_mode = transaction",
                f"default_pool_size = {self._pool_size}",
                "max_client_conn = 500",
                "query_wait_timeout = 20",
                "",
            ]
        )

    def _answers(self) -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(self.url_of("postgres"), connect_timeout=2).close()
            return True
        return False


def start_pgbouncer(
    server: PostgresServer | GivenPostgresServer, *, pool_size: int = 2
) -> PgBouncer:
    """Return a PgBouncer that answers; of each database it opens at most `pool_size`."""
    program = find_pgbouncer_program()
    if program is None:
        is_missing("PgBouncer: install the Debian package pgbouncer")
    remove_left_folders()
    pool = PgBouncer(program, server, pool_size=pool_size)
    atexit.register(pool.close)
    return pool.start()


def find_pgbouncer_program() -> Path | None:
    """Return Debian's pgbouncer."""
    found = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found else None
