"""docker-compose.yml from nothing: a worker is lost, four share the work, a web is lost."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.docker.engine import (
    Engine,
    Site,
    check,
    eventually,
    find_compose,
    free_port,
    run,
    say,
)
from tests.docker.work import (
    make_report,
    open_accounts,
    record_usage,
    request_reports,
    wait_for_all,
)

PROJECT = f"billtrack-test-{os.getpid()}"
OURS = ("BILLTRACK_", "POSTGRES_", "REDIS_", "DATABASE_", "AWS_", "COMPOSE_")
FETCH = """
import sys, urllib.request
headers = {"Authorization": "Bearer " + sys.argv[2]}
request = urllib.request.Request("http://127.0.0.1:6009" + sys.argv[1], headers=headers)
print(__import__("hashlib").sha256(urllib.request.urlopen(request).read()).hexdigest())
"""
AT_WORK = "SELECT DISTINCT worker_id FROM jobs WHERE status = 'running'"
TAKEN_AGAIN = "SELECT count(*) FROM jobs WHERE attempt > 1"


class Stack:
    """A Compose project of its own, with secrets of its own."""

    def __init__(self, engine: Engine, env_file: Path) -> None:
        self.engine = engine
        self._command = [*find_compose(engine), "-p", PROJECT, "--env-file", str(env_file)]
        # What the shell says would go before what the file says.
        theirs = {name: text for name, text in os.environ.items() if not name.startswith(OURS)}
        self._environment = theirs

    def compose(self, *arguments: str, stdin: str = "") -> str:
        return run([*self._command, *arguments], stdin=stdin, environment=self._environment)

    def up(self, *arguments: str) -> None:
        """Bring it up and wait until each container is healthy."""
        self.compose("up", "-d", "--no-build", *arguments)
        eventually(
            lambda: all(map(self.engine.is_healthy, self._lasting())),
            f"every container is healthy, up {' '.join(arguments)}".rstrip(),
            show=lambda: self.compose("ps", "-a") + self.compose("logs", "--tail", "20"),
        )

    def containers(self, service: str) -> list[str]:
        """Return the ids of the running containers of a service."""
        return self.compose("ps", "-q", service).split()

    def billtrack(self, *arguments: str, stdin: str = "") -> str:
        return self.compose("exec", "-T", "web", "billtrack", *arguments, stdin=stdin)

    def query(self, sql: str) -> list[str]:
        """Return the lines that PostgreSQL answers."""
        psql = ("psql", "-U", "billtrack", "-d", "billtrack", "-Atc")
        return self.compose("exec", "-T", "postgres", *psql, sql).split()

    def _lasting(self) -> list[str]:
        services = ("postgres", "redis", "web", "worker", "balancer")
        return [container for service in services for container in self.containers(service)]


def try_stack(engine: Engine) -> None:
    """Bring it up from nothing, break parts of it, take it down."""
    site = Site(free_port())
    with _env_file(site) as env_file, engine.looking_after_health(PROJECT):
        stack = Stack(engine, env_file)
        try:
            _try(stack, site)
        finally:
            stack.compose("down", "--volumes", "--timeout", "40")
        say("it is down")


@contextlib.contextmanager
def _env_file(site: Site) -> Iterator[Path]:
    names = ("POSTGRES_PASSWORD", "REDIS_PASSWORD", "BILLTRACK_SECRET_KEY")
    lines = [f"{name}={secrets.token_hex(24)}" for name in names]
    lines += [f"BILLTRACK_PUBLISH={site.address.removeprefix('http://')}"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "env"
        path.write_text("\n".join(lines), encoding="utf-8")
        yield path


def _try(stack: Stack, site: Site) -> None:
    stack.up()
    check(len(stack.containers("web")) == 2, "there are two webs", stack.compose("ps"))
    log = stack.compose("logs", "init")
    check("(this link works once)" in log, "init prints the set-up link", log)
    page = site.download("/").decode()
    check('name="password"' in page, "the dashboard asks to sign in", page)
    customer = open_accounts(site, stack.billtrack)
    record_usage(site, customer)
    _try_files(stack, site, make_report(site, customer))
    _try_lost_worker(stack, site, customer)
    _try_four_workers(stack, site, customer)
    _try_lost_web(stack, site, customer)


def _try_files(stack: Stack, site: Site, path: str) -> None:
    expected = hashlib.sha256(site.download(path)).hexdigest()
    for web in stack.containers("web"):
        found = stack.engine.run("exec", web, "python", "-c", FETCH, path, site.key).strip()
        check(found == expected, "a web has the file that a worker made", (found, expected))


def _try_lost_worker(stack: Stack, site: Site, customer: int) -> None:
    stack.up("--scale", "worker=2", "--no-recreate")
    jobs = request_reports(site, customer, 40)
    eventually(lambda: stack.query(AT_WORK), "a worker is at work", show=lambda: "")
    busy = stack.query(AT_WORK)[0].split("-")[0]  # the host name is the container's short id
    stack.engine.run("kill", "--signal", "KILL", busy)
    say("it is killed")
    wait_for_all(site, jobs)
    again = stack.query(TAKEN_AGAIN)
    check(int(again[0]) > 0, "the other took up what it had begun", again)
    site.download(site.get(f"/api/v1/reports/status/{jobs[-1]}")["fileUrl"])


def _try_four_workers(stack: Stack, site: Site, customer: int) -> None:
    stack.up("--scale", "worker=4", "--no-recreate")
    check(len(stack.containers("worker")) == 4, "there are four workers", stack.compose("ps"))
    jobs = request_reports(site, customer, 80)
    seen: set[str] = set()

    def are_seen() -> bool:
        seen.update(name.split("-")[0] for name in stack.query(AT_WORK))
        return len(seen) >= 3

    eventually(are_seen, "three of them and more share the work", show=lambda: str(seen))
    wait_for_all(site, jobs)


def _try_lost_web(stack: Stack, site: Site, customer: int) -> None:
    stack.engine.run("kill", "--signal", "KILL", stack.containers("web")[0])
    say("one web is killed")
    answers = [site.is_up() for _ in range(50)]
    check(all(answers), "50 requests are answered by the other", answers)
    record = partial(site.post, "/api/v1/usage/")
    usage = {"quantity": 1, "event": "api_calls", "user_id": customer}
    ids = {record({**usage, "idempotency_key": f"lost-{n}"})["id"] for n in range(20)}
    check(len(ids) == 20, "20 records are taken", ids)
