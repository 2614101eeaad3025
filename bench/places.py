"""Installations to measure: a database, customers, a provider's key, a web server.

Commands and the API make them, so a second checkout is measured in the same state.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import make_url

from bench.cpu import family
from bench.load import Target
from billtrack.entrypoints.supervisor import web_command
from billtrack.platform.process import tied_command
from tests.scenarios.accounts import Account
from tests.scenarios.harness import BILLTRACK, Installation, assert_all_end, eventually
from tests.services import GivenPostgresServer, PostgresServer, start_postgres, unique_name
from tests.services.processes import free_port

CUSTOMERS = 200
WEB_WORKERS = os.environ.get("BILLTRACK_WEB_WORKERS")
"""Processes of the web server, None for as many as there are by default."""


@dataclass(frozen=True, slots=True)
class Place:
    """An installation on one kind of database."""

    database: str
    site: Installation
    provider: Account
    customers: Sequence[int]

    @contextmanager
    def serving(self) -> Iterator[Target]:
        """Run `billtrack serve`."""
        name = make_url(self.site.settings.sqlalchemy_url).database or ""
        backends_of = name if self.database == "postgresql" else ""
        with self._serve([*self.site.program, "serve"], self.site.port) as pid:
            yield Target(
                f"http://127.0.0.1:{self.site.port}",
                self.customers,
                self.provider.key,
                pids=[pid],
                backends_of=backends_of,
            )

    @contextmanager
    def empty_route(self) -> Iterator[Target]:
        """Serve a route that does nothing with the same settings."""
        port = free_port()
        settings = self.site.settings.model_copy(update={"port": port})
        *command, _target = web_command(settings)
        empty = Path(__file__).with_name("empty.py")
        with self._serve([*command, f"{empty}:served"], port) as pid:
            yield Target(f"http://127.0.0.1:{port}", self.customers, records=10_000, pids=[pid])

    @contextmanager
    def _serve(self, command: list[str], port: int) -> Iterator[int]:
        # What it prints goes to a file: reading it here would take time from the server.
        log = self.site.folder / f"server-{port}.log"
        with log.open("w") as output:
            server = subprocess.Popen(
                tied_command(command), stdout=output, stderr=output, env=self.site.environment
            )
        try:
            _wait_for_port(port, log)
            yield server.pid
        finally:
            pids = list(family([server.pid]))
            server.kill()
            server.wait()
            assert_all_end(pids)  # until then they listen, and the port is taken


@contextmanager
def open_place(database: str, program: Sequence[str] = BILLTRACK) -> Iterator[Place]:
    """Make an installation on `sqlite` or `postgresql`, gone afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = stack.enter_context(_postgres_database()) if database == "postgresql" else None
        workers = {"BILLTRACK_WEB_WORKERS": WEB_WORKERS} if WEB_WORKERS else {}
        site = Installation(folder, database_url=url, program=program, **workers)
        stack.callback(site.close)
        _run(site, "init")
        admin, provider = (_create_account(site, role) for role in ("admin", "provider"))
        empty = Place(database, site, provider, ())
        with empty.serving():
            customers = [_create_customer(site, admin, number) for number in range(CUSTOMERS)]
        yield replace(empty, customers=customers)


def _run(site: Installation, *arguments: str) -> str:
    done = site.run(*arguments)
    if done.returncode:
        raise RuntimeError(f"billtrack {' '.join(arguments)}: {done.stderr}")
    return done.stdout


def _create_account(site: Installation, role: str) -> Account:
    email = f"{role}@bench.example"
    user = _run(site, "create-user", "--email", email, "--role", role, "--json")
    key = _run(site, "api-key", "create", "--user", email, "--json")
    return Account(json.loads(user)["id"], json.loads(key)["key"])


def _create_customer(site: Installation, admin: Account, number: int) -> int:
    body = {"email": f"c{number}@bench.example", "name": f"c{number}"}
    answer = site.ask("POST", "/api/v1/users", key=admin.key, body=body)
    if answer.status != 201:
        raise RuntimeError(f"{body}: {answer.text}")
    return int(answer.json["id"])


def memory(target: Target) -> float:
    """Return what the processes of a server hold of their own and share, in MiB."""
    lines = [
        line for pid in family(target.pids) for line in _rollup(pid) if line.startswith("Pss:")
    ]
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
