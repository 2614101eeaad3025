"""Real processes of billtrack to start, watch, kill, and ask over HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import pytest
from apiflask import APIFlask

from billtrack.entrypoints.app import create_app
from billtrack.platform.config import Settings
from billtrack.platform.extensions import db
from billtrack.platform.process import tied_command
from tests.conftest import make_settings
from tests.services.processes import free_port

BILLTRACK = [sys.executable, "-P", "-m", "billtrack.entrypoints.cli.main"]
PATIENCE = 120.0


def eventually(is_so: Callable[[], object], what: object, *, seconds: float = PATIENCE) -> None:
    """Wait until something is so; fails the test with `what` (called, if it can be)."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if is_so():
            return
        time.sleep(0.02)
    pytest.fail(f"not within {seconds:g} seconds: {what() if callable(what) else what}")


def is_alive(pid: int) -> bool:
    """Tell whether anything of the process is left: the first thread may be gone before others."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except OSError:
        return False


def descendants(pid: int) -> list[int]:
    """Return every process below this one, whichever thread started it."""
    found: list[int] = []
    tasks: list[Path] = []
    with contextlib.suppress(OSError):  # it has just ended
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    for task in tasks:
        with contextlib.suppress(OSError):  # or this thread of it
            found += [int(child) for child in (task / "children").read_text().split()]
    return found + [below for child in found for below in descendants(child)]


def assert_all_end(pids: list[int]) -> None:
    """Wait until none of the processes is left."""
    assert pids
    eventually(lambda: not any(map(is_alive, pids)), lambda: [command_line(p) for p in pids])


def command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return ""


def renderers(worker_pid: int) -> list[int]:
    """Return the rendering processes of a worker."""
    return [pid for pid in descendants(worker_pid) if "spawn_main" in command_line(pid)]


def warm_renderers(worker_pid: int) -> list[int]:
    """Return those that have loaded what they render with: Python is past starting them."""
    return [pid for pid in renderers(worker_pid) if "libpango" in memory_map(pid)]


def memory_map(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/maps").read_text()
    return ""


def memory_of(pids: Sequence[int]) -> list[int]:
    """Return what each process holds, in MiB, with its part of what they share."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in pids]
    return [
        int(re.findall(r"^Pss: *([0-9]+) kB", text, re.MULTILINE)[0]) // 1024 for text in rollups
    ]


def seconds_at_work(pid: int) -> float:
    """Return the CPU time of a process."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


class Running:
    """A started command with the lines it has printed; ends with the test at the latest."""

    def __init__(
        self, command: list[str], environment: Mapping[str, str], folder: Path | None = None
    ) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            tied_command(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=dict(environment),
            cwd=folder,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: object, _trace: TracebackType | None
    ) -> None:
        self.kill9()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def text(self) -> str:
        return "\n".join(list(self.lines))

    def wait_for(self, pattern: str, *, seconds: float = PATIENCE) -> re.Match[str]:
        """Return the first match in what it has printed, waiting for it."""
        eventually(
            lambda: re.search(pattern, self.text, re.MULTILINE) or self.process.poll() is not None,
            lambda: f"{pattern!r} in\n{self.text}",
            seconds=seconds,
        )
        match = re.search(pattern, self.text, re.MULTILINE)
        assert match is not None, f"{pattern!r} is not in\n{self.text}"
        return match

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal and return the exit code."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Return the exit code once the process has ended and all it printed has been read."""
        code = self.process.wait(timeout=PATIENCE)
        self._reader.join(timeout=PATIENCE)
        assert not self._reader.is_alive(), f"another process still prints:\n{self.text}"
        return code

    def kill9(self) -> None:
        self.process.kill()
        self.wait()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.lines.extend(line.rstrip("\n") for line in lines)


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    status: int
    headers: Message
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Installation:
    """A billtrack of its own: data folder, secret, database and queue, all set by environment.

    Its secret names its queue, so many of them live on one Redis.
    """

    def __init__(
        self,
        folder: Path,
        *,
        database_url: str | None = None,
        redis_url: str | None = None,
        program: Sequence[str] = BILLTRACK,
        **environment: str,
    ) -> None:
        self.folder = folder
        self.program = program
        self.port = free_port()
        secret = secrets.token_urlsafe(32)
        services = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONUNBUFFERED": "1",
            "BILLTRACK_DATA_DIR": str(folder),
            "BILLTRACK_PORT": str(self.port),
            "BILLTRACK_PUBLIC_URL": f"http://localhost:{self.port}",
            "BILLTRACK_SECRET_KEY": secret,
            **{name: url for name, url in services.items() if url},
            **environment,
        }
        given = {"database_url": database_url, "redis_url": redis_url, "secret_key": secret}
        self.settings: Settings = make_settings(
            folder, **{name: value for name, value in given.items() if value}
        )
        self._app: APIFlask | None = None

    @contextlib.contextmanager
    def inside(self) -> Iterator[None]:
        """Look into the database, or change it, as the processes do."""
        if self._app is None:
            self._app = create_app(self.settings)
        with self._app.app_context():
            yield

    def start(self, *arguments: str) -> Running:
        """Start `billtrack …`."""
        return Running([*self.program, *arguments], self.environment)

    def run(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run `billtrack …` to its end."""
        return subprocess.run(
            tied_command([*self.program, *arguments]),
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environment,
            check=False,
            timeout=PATIENCE,
        )

    def ask(
        self,
        method: str,
        path: str,
        *,
        key: str | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = PATIENCE,
    ) -> Answer:
        """Send one request over a connection of its own; raises OSError when nobody answers."""
        sent = {"Authorization": f"Bearer {key}"} if key else {}
        sent |= headers or {}
        if body is not None and not isinstance(body, str):
            body, sent["Content-Type"] = json.dumps(body), "application/json"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body=body, headers=sent)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def answers(self) -> bool:
        """Tell whether the web takes requests, which it says a moment before it does."""
        with contextlib.suppress(OSError):
            return self.ask("GET", "/api/v1/health/live").status == 200
        return False

    def close(self) -> None:
        """Let go of the database."""
        if self._app is not None:
            with self._app.app_context():
                db.session.remove()
                db.engine.dispose()


class Browser:
    """A browser without JavaScript on a real server: cookies, forms, redirects."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._cookies: dict[str, str] = {}

    @property
    def cookies(self) -> str:
        """The header that it sends."""
        return "; ".join(f"{name}={value}" for name, value in self._cookies.items())

    def get(self, path: str) -> Answer:
        return self._ask("GET", path)

    def submit(self, path: str, to: str | None = None, /, **fields: str) -> Answer:
        """Open the page, fill in its form and send it; redirects are not followed."""
        page = self.get(path)
        token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.text)
        assert token is not None, page.text
        body = urlencode({**fields, "csrf_token": token[1]})
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._ask("POST", to or path, body=body, headers=headers)

    def sign_in(self, email: str, password: str) -> Answer:
        return self.submit("/sign-in", email=email, password=password)

    def _ask(
        self, method: str, path: str, *, body: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        sent = {**(headers or {}), "Cookie": self.cookies}
        answer = self._installation.ask(method, path, body=body or None, headers=sent)
        if cookie := answer.headers.get("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self._cookies[name] = value
        return answer
