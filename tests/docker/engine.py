"""Docker or Podman, by their commands. A failure ends the run in what the command said."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "billing-tracker"
PATIENCE = 180.0
PASSWORD = "a sentence is easier than a riddle"
NO_ENGINE = (
    "make docker-test needs a container engine: install docker, or podman with docker-compose."
)


class Engine:
    """The engine that is there: what BILLTRACK_ENGINE says, else docker, else podman."""

    def __init__(self) -> None:
        self.command = _command("BILLTRACK_ENGINE", ["docker"], ["podman"]) or fail(NO_ENGINE)
        self.is_podman = "podman" in Path(self.command[0]).name

    def build(self) -> None:
        """Build the image from the checkout."""
        command = _command("BILLTRACK_BUILD") or [*self.command, "build"]
        started = time.monotonic()
        run([*command, "-t", IMAGE, str(ROOT)])
        say(f"the image is built in {time.monotonic() - started:.0f} s")

    def run(self, *arguments: str, stdin: str = "") -> str:
        """Run one command of the engine and return what it prints."""
        return run([*self.command, *arguments], stdin=stdin)

    def billtrack(self, container: str, *arguments: str, stdin: str = "") -> str:
        """Run `billtrack …` in a container and return what it prints."""
        return self.run("exec", "-i", container, "billtrack", *arguments, stdin=stdin)

    def is_healthy(self, container: str) -> bool:
        """Tell whether the health check of the container says so."""
        if self.is_podman:  # which runs health checks only where systemd is
            command = [*self.command, "healthcheck", "run", container]
            return subprocess.run(command, capture_output=True, check=False).returncode == 0
        state = self.run("inspect", "--format", "{{.State.Health.Status}}", container)
        return state.strip() == "healthy"

    @contextlib.contextmanager
    def looking_after_health(self, project: str) -> Iterator[None]:
        """Run the health checks of a Compose project where the engine does not."""
        stopping = threading.Event()
        looking = threading.Thread(target=self._look_after_health, args=(project, stopping))
        if self.is_podman:
            looking.start()
        try:
            yield
        finally:
            stopping.set()
            if self.is_podman:
                looking.join()

    def _look_after_health(self, project: str, stopping: threading.Event) -> None:
        label = f"label=com.docker.compose.project={project}"
        while not stopping.wait(1):
            for container in self.run("ps", "-q", "--filter", label).split():
                self.is_healthy(container)


class Site:
    """A running billtrack: its address, and an administrator's key once there is one."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        self.key = ""

    def get(self, path: str) -> Any:
        return json.loads(self.download(path))

    def post(self, path: str, body: Any) -> Any:
        return json.loads(self._ask(path, json.dumps(body).encode()))

    def download(self, path: str) -> bytes:
        return self._ask(path, None)

    def is_up(self) -> bool:
        """Tell whether it says that it is well."""
        try:
            return bool(self.get("/api/v1/health")["status"] == "ok")
        except OSError:
            return False

    def _ask(self, path: str, body: bytes | None) -> bytes:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(self.address + path, body, headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            content: bytes = answer.read()
        return content


def run(command: list[str], *, stdin: str = "", environment: dict[str, str] | None = None) -> str:
    """Run a command to its end and return what it prints."""
    result = subprocess.run(
        command,
        input=stdin,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        check=False,
        timeout=900,
    )
    if result.returncode:
        fail(f"{shlex.join(command)}\n{result.stdout[-3000:]}{result.stderr[-3000:]}")
    return result.stdout


def find_compose(engine: Engine) -> list[str]:
    """Return the command of Compose."""
    with_plugin = [*engine.command, "compose"]
    if "BILLTRACK_COMPOSE" not in os.environ and not engine.is_podman:
        version = subprocess.run([*with_plugin, "version"], capture_output=True, check=False)
        if version.returncode == 0:
            return with_plugin
    found = _command(
        "BILLTRACK_COMPOSE", ["docker-compose"], [str(ROOT / ".venv/bin/docker-compose")]
    )
    return found or fail(
        "Docker Compose is missing: install docker-compose-plugin or docker-compose."
    )


def eventually(is_so: Callable[[], object], what: str, *, show: Callable[[], str]) -> None:
    """Wait until something is so and say it; else end with what `show` returns."""
    started = time.monotonic()
    while not is_so():
        if time.monotonic() - started > PATIENCE:
            fail(f"not within {PATIENCE:g} s: {what}\n{show()}")
        time.sleep(0.2)
    say(f"{what} ({time.monotonic() - started:.0f} s)")


def check(is_so: object, what: str, found: object) -> None:
    """Say what is so, or end with what was found instead."""
    if not is_so:
        fail(f"it is not so that {what}: {found}")
    say(what)


def say(what: str) -> None:
    print(f"ok    {what}", flush=True)


def fail(why: str) -> NoReturn:
    sys.exit(f"FAIL  {why}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _command(setting: str, *usual: list[str]) -> list[str] | None:
    if given := os.environ.get(setting):
        return shlex.split(given)
    return next((command for command in usual if shutil.which(command[0])), None)
