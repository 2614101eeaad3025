"""`billtrack up`: a small supervisor that keeps the web and the worker running.

Owns starting, watching, restarting and stopping the child processes, and one
screen for what they print. Knows nothing of what they do. Children are started
in the main thread only: they are killed when the thread that started them ends.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from billtrack.entrypoints.console import Screen
from billtrack.platform.config import Settings
from billtrack.platform.logs import Format
from billtrack.platform.process import tied_command

PROJECT_DIR = Path(__file__).resolve().parents[2]
GRANIAN_LOGS = Path(__file__).resolve().with_name("server") / "granian-logs.json"
HEALTH_PATH = "/api/v1/health"
TICK_SECONDS = 0.1
FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 30.0
STEADY_SECONDS = 60.0
STOP_SECONDS = 30.0
WEB_STOP_SECONDS = 10.0
"""For requests to end. A worker of Granian that is just starting misses the signal to stop."""
READY_SECONDS = 60.0
PROBE_SECONDS = 1.0
BUFFER_BYTES = 64 * 1024
"""Read buffer of each connection. Granian's own 408 KiB would be 408 MiB for all of them."""
WEB_REQUESTS = 1024
"""For each process: most of them only wait for slow clients, see `billtrack.entrypoints.server`."""


def web_command(settings: Settings) -> list[str]:
    """Return the command that serves the web with Granian, from any current directory.

    The target is a full path and Python gets -P: Granian looks for a plain
    `wsgi` in the current directory first, whatever --working-dir says.
    """
    return [
        *(sys.executable, "-P", "-m", "billtrack.entrypoints.server.granian"),
        *("--interface", "asginl", "--http", "1", "--no-ws", "--no-access-log"),
        *("--log-config", str(GRANIAN_LOGS)),
        *("--host", settings.host, "--port", str(settings.port)),
        *("--http1-buffer-size", str(BUFFER_BYTES)),
        *("--workers", str(settings.web_workers), "--backpressure", str(WEB_REQUESTS)),
        *("--respawn-failed-workers", "--workers-kill-timeout", f"{WEB_STOP_SECONDS:g}"),
        *("--working-dir", str(PROJECT_DIR), f"{PROJECT_DIR / 'wsgi.py'}:served"),
    ]


def find_port_problem(host: str, port: int, *, setting: str = "BILLTRACK_PORT") -> str | None:
    """Return one sentence about why nobody could listen there, or None if one can.

    Binds without SO_REUSEPORT, which Granian sets: a second instance would
    silently share the port with the first.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return (
            f"Cannot listen on {host} port {port} ({error.strerror}): stop what uses it, "
            f"or set {setting} and BILLTRACK_HOST to a free address."
        )
    return None


def loopback_of(host: str) -> str:
    """Return where this machine reaches what listens on `host`, which may be every address."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (compared, not bound)


def supervise(
    *,
    host: str,
    port: int,
    environment: Mapping[str, str],
    commands: Mapping[str, Sequence[str]],
    on_ready: Callable[[], None],
    log_format: Format = "text",
) -> int:
    """Run the named commands until SIGINT, SIGTERM or SIGHUP; return the exit code.

    `on_ready` is called once, when host and port answer HTTP. Call this in the
    main thread: it handles signals.
    """
    problem = find_port_problem(host, port)
    if problem is not None:
        print(problem, file=sys.stderr)
        return 1
    screen = Screen(width=max(map(len, commands)), log_format=log_format)
    children = [Child(name, argv, environment, screen) for name, argv in commands.items()]
    return _Supervisor(children, screen, Readiness(host, port, on_ready, screen)).run()


class Child:
    """One command that is kept running, in a process group of its own."""

    def __init__(
        self, name: str, argv: Sequence[str], environment: Mapping[str, str], screen: Screen
    ) -> None:
        self.name = name
        self._argv = tied_command(argv)
        self._environment = {**environment, "PYTHONUNBUFFERED": "1"}
        self._screen = screen
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._started_at = 0.0
        self._start_at = 0.0
        self._delay = 0.0

    def keep_running(self, now: float) -> None:
        """Start the command when it is due; notice when it has ended."""
        if self._process is None:
            if now >= self._start_at:
                self._start(now)
        elif self._process.poll() is not None:
            self._plan_restart(self._process.returncode, now)

    def is_running(self) -> bool:
        """Tell whether the command itself has not ended yet."""
        return self._process is not None and self._process.poll() is None

    def terminate(self) -> None:
        """Ask the command to finish what it does and end."""
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End the command and whatever it started, at once, and print its last lines."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None
        if self._reader is not None:
            self._reader.join(timeout=1)

    def _start(self, now: float) -> None:
        self._started_at = now
        self._process = subprocess.Popen(  # noqa: S603  (argv comes from our own code, no shell)
            self._argv,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            process_group=0,
        )
        self._reader = threading.Thread(target=self._copy, args=(self._process,), daemon=True)
        self._reader.start()

    def _copy(self, process: subprocess.Popen[str]) -> None:
        if process.stdout is None:
            return
        with process.stdout as lines:
            for line in lines:
                self._screen.say(self.name, line.rstrip())

    def _plan_restart(self, code: int, now: float) -> None:
        self.kill()  # what it left behind would hold its port or its queue
        is_steady = now - self._started_at >= STEADY_SECONDS
        longer = min(self._delay * 2, LONGEST_DELAY_SECONDS)
        self._delay = FIRST_DELAY_SECONDS if is_steady else max(longer, FIRST_DELAY_SECONDS)
        self._start_at = now + self._delay
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        self._screen.say("up", f"{self.name} {how}; starting it again in {self._delay:g} s")


class Readiness:
    """Calls `on_ready` once the web answers; says so once when that takes long."""

    def __init__(self, host: str, port: int, on_ready: Callable[[], None], screen: Screen) -> None:
        self._host = loopback_of(host)
        self._port = port
        self._on_ready = on_ready
        self._screen = screen
        self._is_ready = False
        self._is_late = False
        self._late_at = time.monotonic() + READY_SECONDS

    def look(self, now: float) -> None:
        """Ask the web unless it has answered before."""
        if self._is_ready:
            return
        if self._answers():
            self._is_ready = True
            with self._screen.lock:
                self._on_ready()
        elif now >= self._late_at and not self._is_late:
            self._is_late = True
            self._screen.say("up", f"the web does not answer after {READY_SECONDS:g} s; see above")

    def _answers(self) -> bool:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=PROBE_SECONDS)
        try:
            connection.request("GET", HEALTH_PATH)
            connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
        return True


class _Supervisor:
    def __init__(self, children: Sequence[Child], screen: Screen, readiness: Readiness) -> None:
        self._children = children
        self._screen = screen
        self._readiness = readiness
        self._is_stopping = False
        self._is_hurried = False

    def run(self) -> int:
        with self._signals():
            try:
                while not self._is_stopping:
                    now = time.monotonic()
                    for child in self._children:
                        child.keep_running(now)
                    self._readiness.look(now)
                    time.sleep(TICK_SECONDS)
                self._stop()
            finally:
                for child in self._children:
                    child.kill()
        return 0

    @contextmanager
    def _signals(self) -> Iterator[None]:
        wanted = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup asks to outlive it
            wanted.append(signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # Only flags: the screen's lock may be held by the code that this interrupts.
        if self._is_stopping and number == signal.SIGINT:
            self._is_hurried = True
        self._is_stopping = True

    def _stop(self) -> None:
        self._screen.say("up", "stopping; press Ctrl-C again to stop at once")
        for child in self._children:
            child.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        while self._running() and not self._is_hurried and time.monotonic() < deadline:
            time.sleep(TICK_SECONDS)
        late = self._running()
        for child in late:
            self._screen.say("up", f"{child.name} had not finished and is killed")
        if not late:
            self._screen.say("up", "stopped")

    def _running(self) -> list[Child]:
        return [child for child in self._children if child.is_running()]
