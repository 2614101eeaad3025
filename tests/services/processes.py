"""What every server of the tests needs: a folder, a port, an account, a start and an end."""

from __future__ import annotations

import contextlib
import itertools
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

import pytest

from billtrack.platform.process import tied_command

START_SECONDS = 60.0
FORBIDDEN = "BILLTRACK_TEST_NO_SERVERS"
FOLDER_PREFIX = "billtrack-test-"
PORTS = range(16_000, 32_000)
"""Below those that systems give to outgoing connections."""

# Processes of pytest-xdist begin far from each other: their ids differ by little.
_first = os.getpid() * 997 % len(PORTS)
_ports: Iterator[int] = itertools.cycle([*PORTS[_first:], *PORTS[:_first]])


def package_folder(name: str) -> Path | None:
    spec = find_spec(name)
    return Path(spec.origin).parent if spec and spec.origin else None


def is_missing(what: str) -> NoReturn:
    if os.environ.get("BILLTRACK_REQUIRE_SERVICES") == "1":
        pytest.fail(f"needs {what}")
    pytest.skip(f"needs {what}")


def postgres_account() -> pwd.struct_passwd | None:
    """Return whom to run PostgreSQL as, which refuses to be root; None: as we are."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("postgres")
    return pwd.getpwnam("nobody")


def as_account(command: list[str], account: pwd.struct_passwd | None) -> list[str]:
    """Return `command` for another account, ending with us.

    setpriv asks for the end after it has changed the account, as the change
    takes the request back; and the account may be unable to reach our Python.
    """
    if account is None:
        return tied_command(command)
    ids = ["--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups"]
    return ["setpriv", *ids, "--pdeathsig", "KILL", "--", *command]


def forbid_servers() -> None:
    """Fail every test of this run that starts a server."""
    os.environ[FORBIDDEN] = "1"


def new_folder() -> Path:
    """Make the folder of a server. Its name tells whose it is.

    The path is short: that of a socket has at most 107 bytes. Fails the test if `forbid_servers`
    was called.
    """
    if os.environ.get(FORBIDDEN):
        pytest.fail("this run starts no servers: mark the test or its module `slow`")
    return Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir="/tmp"))


def remove_left_folders() -> None:
    for folder in Path("/tmp").glob(f"{FOLDER_PREFIX}*-*"):
        pid = folder.name.removeprefix(FOLDER_PREFIX).split("-")[0]
        if not Path(f"/proc/{pid}").exists():
            shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """Return a port that nobody listens on and that no connection is given by the system.

    Ports of the system's own choice are those of outgoing connections, too: until a server
    binds such a one, some other test may have it.
    """
    for port in _ports:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError


def wait_until(answers: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers():
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"the server did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes] | None, number: signal.Signals) -> None:
    if process is not None and process.poll() is None:
        process.send_signal(number)
        process.wait(timeout=START_SECONDS)


def kill(process: subprocess.Popen[bytes] | None, others: list[int]) -> None:
    if process is None or process.poll() is not None:
        return
    for pid in (process.pid, *others):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(timeout=START_SECONDS)


def descendants(process: subprocess.Popen[bytes] | None) -> list[int]:
    """Return the processes that a server has started."""
    if process is None:
        return []
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(pid) for pid in children.read_text().split()] if children.exists() else []
