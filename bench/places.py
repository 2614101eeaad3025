"""Installations to measure: a database, customers, a provider's key, a web server."""

from __future__ import annotations

import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.load import Target
from billtrack.accounts.permissions import Role
from billtrack.process import tied_command
from billtrack.provisioning.initialise import initialise
from billtrack.supervisor import web_command
from tests.cast import create_user
from tests.scenarios.accounts import Account, create_account
from tests.scenarios.harness import BILLTRACK, Installation, descendants, eventually
from tests.services import GivenPostgresServer, PostgresServer, start_postgres, unique_name
from tests.services.processes import free_port

CUSTOMERS = 200
Server = subprocess.Popen[bytes]
WEB_WORKERS = os.environ.get("BILLTRACK_WEB_WORKERS")
"""Processes of the web server, None for as many as there are by default."""


@dataclass(frozen=True, slots=True)
class Place:
    """An installation on one kind of database."""

    database: str
    site: Installation
    provider: Account
    customers: Sequence[int]

    @property
    def target(self) -> Target:
        """Where its web server takes usage."""
        return Target(f"http://127.0.0.1:{self.site.port}", self.customers, self.provider.key)

    @contextmanager
    def serving(self) -> Iterator[Server]:
        """Run `billtrack serve`."""
        with self._serve([*BILLTRACK, "serve"], self.site.port) as server:
            yield server

    @contextmanager
    def empty_route(self) -> Iterator[Target]:
        """Serve a route that does nothing with the same settings."""
        port = free_port()
        settings = self.site.settings.model_copy(update={"port": port})
        *command, _target = web_command(settings)
        empty = Path(__file__).with_name("empty.py")
        with self._serve([*command, f"{empty}:served"], port):
            yield Target(f"http://127.0.0.1:{port}", self.customers, records=10_000)

    @contextmanager
    def _serve(self, command: list[str], port: int) -> Iterator[Server]:
        # What it prints goes to a file: reading it here would take time from the server.
        log = self.site.folder / f"server-{port}.log"
        with log.open("w") as output:
            server = subprocess.Popen(
                tied_command(command), stdout=output, stderr=output, env=self.site.environment
            )
        try:
            _wait_for_port(port, log)
            yield server
        finally:
            server.kill()
            server.wait()


@contextmanager
def open_place(database: str) -> Iterator[Place]:
    """Make an installation on `sqlite` or `postgresql`, gone afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(_postgres_database()) if database == "postgresql" else None
        workers = {"BILLTRACK_WEB_WORKERS": WEB_WORKERS} if WEB_WORKERS else {}
        site = Installation(folder, database_url=url, **workers)
        stack.callback(site.close)
        with site.inside():
            initialise(site.settings, now=datetime.now(UTC))
            customers = [create_user(email=f"c{n}@bench.example").id for n in range(CUSTOMERS)]
        provider = create_account(site, Role.PROVIDER, "provider@bench.example")
        yield Place(database, site, provider, customers)


def memory(server: Server) -> float:
    """Return what a server and its processes hold of their own and share, in MiB."""
    pids = [server.pid, *descendants(server.pid)]
    lines = [line for pid in pids for line in _rollup(pid) if line.startswith("Pss:")]
    return sum(int(line.split()[1]) for line in lines) / 1024


def _rollup(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()


_server: list[PostgresServer | GivenPostgresServer] = []


@contextmanager
def _postgres_database() -> Iterator[str]:
    # One server for the whole run; with fsync, as commits are what is measured.
    if not _server:
        _server.append(start_postgres(fsync=True))
    name = unique_name()
    try:
        yield _server[0].create_database(name)
    finally:
        _server[0].drop_database(name)


def _wait_for_port(port: int, log: Path) -> None:
    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/health", timeout=5):
                return True
        except OSError:
            return False

    eventually(answers, log.read_text)
