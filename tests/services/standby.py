"""A streaming replica of a PostgreSQL of the tests' own, that a test may pause and stop."""

from __future__ import annotations

import atexit
import os
import subprocess
import time
from typing import Self

import psycopg
import pytest

from tests.services.postgres import ADMIN, GivenPostgresServer, PostgresServer
from tests.services.processes import as_account, is_missing


class StandbyServer(PostgresServer):
    """A copy of another server that follows it, over the loopback port."""

    def __init__(self, primary: PostgresServer) -> None:
        super().__init__(primary.programs)
        self._primary = primary

    def init(self) -> Self:
        """Copy the other server as it is now, and remember to follow it."""
        if self._user is not None:
            os.chown(self._folder, self._user.pw_uid, self._user.pw_gid)
        command = [str(self.programs / "pg_basebackup"), "--pgdata", str(self._data)]
        command += ["--host", "127.0.0.1", "--port", str(self._primary.port)]
        command += ["--username", ADMIN, "--write-recovery-conf", "--checkpoint", "fast"]
        command += ["--no-sync", "--wal-method", "stream"]
        subprocess.run(
            as_account(command, self._user), check=True, stdout=subprocess.DEVNULL, cwd="/"
        )
        return self

    def pause(self) -> None:
        """Receive what the primary writes, but show none of it."""
        self._run("SELECT pg_wal_replay_pause()")
        # Asked while it has nothing to replay, it pauses only when it next looks.
        with psycopg.connect(self.url, autocommit=True) as connection:
            state = "SELECT pg_get_wal_replay_pause_state()"
            while connection.execute(state).fetchone() != ("paused",):
                time.sleep(0.02)

    def resume(self) -> None:
        """Catch up and follow again."""
        self._run("SELECT pg_wal_replay_resume()")

    def _run(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(statement.encode())


def start_standby(primary: PostgresServer | GivenPostgresServer) -> StandbyServer:
    """Return a replica that answers; the folder of its primary is copied."""
    if not isinstance(primary, PostgresServer):
        pytest.skip("this PostgreSQL is not ours to copy")
    if not (primary.programs / "pg_basebackup").exists():
        is_missing("pg_basebackup: install the Debian package postgresql")
    server = StandbyServer(primary)
    atexit.register(server.close)
    return server.init().start()
