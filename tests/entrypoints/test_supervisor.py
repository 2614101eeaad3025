"""`billtrack up` with stub children: real processes, signals and ports."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from billtrack.entrypoints import supervisor
from billtrack.entrypoints.supervisor import PROJECT_DIR, find_port_problem
from billtrack.platform.config import Settings
from tests.scenarios.harness import is_alive
from tests.services.processes import free_port

PATIENCE = 60
"""Seconds that a busy machine may take."""

SUPERVISE = """
import json, os, sys
from billtrack.entrypoints.supervisor import supervise
port, commands = int(sys.argv[1]), json.loads(sys.argv[2])
sys.exit(supervise(
    host="127.0.0.1", port=port, environment=os.environ, commands=commands,
    on_ready=lambda: print("READY", flush=True),
))
"""

# Answers every request with 404, as any HTTP answer counts.
WEB = """
import http.server, sys
print("web is up")
handler = http.server.BaseHTTPRequestHandler
handler.log_message = lambda *_: None
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
"""

WORKER = """
import signal, sys, time
def stop(*_):
    print("worker finishes its job")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("worker is up")
while True:
    time.sleep(0.05)
"""

CRASHING = "import sys; print('about to fail', file=sys.stderr); sys.exit(3)"

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("stubborn is up", flush=True)
while True:
    time.sleep(0.05)
"""

# Starts a process of its own by multiprocessing, as Granian does, and names its pid.
FORKING = """
import multiprocessing, os, sys, time
from billtrack.platform.process import die_with_parent
def serve():
    die_with_parent()
    print("forked", os.getpid(), flush=True)
    time.sleep(600)
multiprocessing.get_context("fork").Process(target=serve).start()
"""


WSGI = """
from billtrack.platform.process import die_with_parent
die_with_parent()
async def served(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"the stub project"})
"""


class Up:
    """A running supervisor and the lines it has printed."""

    def __init__(self, port: int, folder: Path, commands: dict[str, list[str]]) -> None:
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISE, str(port), json.dumps(commands)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(PROJECT_DIR)},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            self.lines.extend(line.rstrip() for line in lines)

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first match in the printed lines, waiting for it."""

        eventually(lambda: self._find(pattern), f"{pattern!r} in {self.lines}")
        match = self._find(pattern)
        assert match is not None
        return match

    def _find(self, pattern: str) -> re.Match[str] | None:
        return next((m for line in list(self.lines) if (m := re.search(pattern, line))), None)

    def wait(self) -> int:
        """Return the exit code once the process has ended and all it printed has been read."""
        code = self.process.wait(timeout=PATIENCE)
        self._reader.join(timeout=PATIENCE)
        assert not self._reader.is_alive(), f"another process still prints: {self.lines}"
        return code


def eventually(is_so: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if is_so():
            return
        time.sleep(0.02)
    pytest.fail(f"not within {PATIENCE} seconds: {what}")


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


@pytest.fixture
def start() -> Iterator[Callable[..., Up]]:
    started: list[Up] = []

    def start(port: int | None = None, folder: Path = PROJECT_DIR, **commands: list[str]) -> Up:
        started.append(Up(port or free_port(), folder, commands))
        return started[-1]

    yield start
    for up in started:
        with contextlib.suppress(ProcessLookupError):
            up.process.kill()
        up.wait()


def test_it_starts_both_prefixes_their_lines_and_says_when_the_web_answers(
    start: Callable[..., Up],
) -> None:
    port = free_port()
    up = start(port, web=python(WEB, port), worker=python(WORKER))
    up.wait_for(r"^web    \| web is up$")
    up.wait_for(r"^worker \| worker is up$")
    up.wait_for(r"^READY$")
    assert up.lines.count("READY") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_it_stops_cleanly_when_asked(start: Callable[..., Up], number: signal.Signals) -> None:
    up = start(worker=python(WORKER))
    up.wait_for("worker is up")
    up.process.send_signal(number)
    assert up.wait() == 0
    assert "worker | worker finishes its job" in up.lines
    assert up.lines[-1] == "up     | stopped"


def test_it_starts_a_crashed_child_again_after_longer_and_longer_delays(
    start: Callable[..., Up],
) -> None:
    up = start(web=python(CRASHING), worker=python(WORKER))
    begin = time.monotonic()
    up.wait_for(r"^web    \| about to fail$")
    up.wait_for(r"^up     \| web ended with code 3; starting it again in 1 s$")
    up.wait_for(r"^up     \| web ended with code 3; starting it again in 2 s$")
    assert time.monotonic() - begin >= 1
    up.wait_for(r"^up     \| web ended with code 3; starting it again in 4 s$")
    assert time.monotonic() - begin >= 3
    assert up.lines.count("worker | worker is up") == 1


def test_it_starts_a_killed_child_again(start: Callable[..., Up]) -> None:
    up = start(worker=python("import os, time; print('pid', os.getpid()); time.sleep(600)"))
    os.kill(int(up.wait_for(r"pid (\d+)")[1]), signal.SIGKILL)
    up.wait_for(r"^up     \| worker was ended by signal 9; starting it again in 1 s$")
    eventually(lambda: sum("pid" in line for line in up.lines) == 2, "a second worker")


def test_a_second_ctrl_c_kills_at_once(start: Callable[..., Up]) -> None:
    up = start(worker=python(STUBBORN))
    up.wait_for("stubborn is up")
    up.process.send_signal(signal.SIGINT)
    up.wait_for("stopping")
    assert up.process.poll() is None
    up.process.send_signal(signal.SIGINT)
    assert up.wait() == 0
    assert up.lines[-1] == "up     | worker had not finished and is killed"


def test_kill_9_of_the_supervisor_leaves_nothing_behind(start: Callable[..., Up]) -> None:
    up = start(
        web=python("import os\nprint('main', os.getpid(), flush=True)\n" + FORKING),
        worker=python("import os, time; print('worker', os.getpid()); time.sleep(600)"),
    )
    names = (r"main (\d+)", r"forked (\d+)", r"worker (\d+)")
    pids = [int(up.wait_for(name)[1]) for name in names]
    assert all(map(is_alive, pids))
    up.process.kill()
    eventually(lambda: not any(map(is_alive, pids)), f"end of {pids}")


def test_kill_9_of_a_child_leaves_nothing_that_it_started(start: Callable[..., Up]) -> None:
    up = start(web=python("import os\nprint('main', os.getpid(), flush=True)\n" + FORKING))
    main, forked = (int(up.wait_for(name)[1]) for name in (r"main (\d+)", r"forked (\d+)"))
    os.kill(main, signal.SIGKILL)
    eventually(lambda: not is_alive(forked), f"end of {forked}")


def test_it_refuses_a_taken_port_in_one_sentence(start: Callable[..., Up]) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        up = start(port, web=python(WEB, port))
        assert up.wait() == 1
    assert len(up.lines) == 1
    assert f"port {port}" in up.lines[0]
    assert "BILLTRACK_PORT" in up.lines[0]


def test_a_port_is_free_again_after_it_was_looked_at() -> None:
    port = free_port()
    assert find_port_problem("127.0.0.1", port) is None
    assert find_port_problem("127.0.0.1", port) is None


def test_an_unknown_host_is_a_problem_in_one_sentence() -> None:
    problem = find_port_problem("198.51.100.7", free_port())
    assert problem is not None
    assert "BILLTRACK_HOST" in problem


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stub project, while the current directory holds other files of the same names."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "wsgi.py").write_text(WSGI)
    (tmp_path / "elsewhere").mkdir()
    for name in ("wsgi.py", "granian.py"):
        (tmp_path / "elsewhere" / name).write_text("raise SystemExit('the wrong file')")
    monkeypatch.setattr(supervisor, "PROJECT_DIR", tmp_path / "project")
    return tmp_path / "project"


def test_granian_serves_the_project_from_a_folder_with_files_of_the_same_names(
    start: Callable[..., Up], project: Path
) -> None:
    port = free_port()
    command = supervisor.web_command(Settings(port=port))
    up = start(port, folder=project.parent / "elsewhere", web=command)
    up.wait_for("^READY$")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/")
    assert connection.getresponse().read() == b"the stub project"
    connection.close()
    up.process.terminate()
    assert up.wait() == 0


def test_kill_9_of_granian_leaves_no_worker_on_the_port(
    start: Callable[..., Up], project: Path
) -> None:
    port = free_port()
    command = supervisor.web_command(Settings(port=port, web_workers=2))
    up = start(port, folder=project, web=command)
    main = int(up.wait_for(r"main PID: (\d+)")[1])
    workers = [int(up.wait_for(rf"worker-{n} with PID: (\d+)")[1]) for n in (1, 2)]
    up.wait_for("^READY$")
    up.process.kill()
    eventually(lambda: not any(map(is_alive, [main, *workers])), "end of Granian")
    # The last thread of a process that was killed lets go of the port.
    eventually(lambda: find_port_problem("127.0.0.1", port) is None, "a free port")
