"""HTTP load by wrk, the same for billtrack and for whatever is measured beside it.

A generator in Python would be the bottleneck itself; wrk is a small Debian package.
"""

from __future__ import annotations

import re
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.measure import Sample

PROGRAM = "wrk"
WARM_SECONDS = 2
SECONDS = 5
"""How long a round lasts."""

POST = Path(__file__).with_name("post.lua")
GET = Path(__file__).with_name("get.lua")

_RESULT = re.compile(
    r"^RESULT requests=(\d+) seconds=([\d.]+) p50=([\d.]+) p99=([\d.]+) failed=(\d+)$", re.MULTILINE
)


class LoadFailed(Exception):
    """A request was refused or not answered, so that the rate means nothing."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server that takes usage: its address without a path, and users with a range of ids."""

    url: str
    users: Sequence[int]
    key: str = ""
    records: int = 0
    """Records 1 to this number can be read."""

    pids: Sequence[int] = ()
    """Roots of its process tree; empty if not known."""

    backends_of: str = ""
    """Name of its database, if on a PostgreSQL server of this machine."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of every request."""
        headers = {"Content-Type": "application/json"}
        return {**headers, "Authorization": f"Bearer {self.key}"} if self.key else headers


def missing() -> str | None:
    """Return what to do so that requests can be sent, or None if they can."""
    if shutil.which(PROGRAM):
        return None
    return "wrk is missing, which sends the requests: apt-get install wrk"


def post_records(
    target: Target, *, connections: int, users: int | None = None, seconds: int = SECONDS
) -> Sample:
    """Record usage, each record under a key of its own, for the first `users` of the target."""
    chosen = target.users[:users]
    arguments = [secrets.token_hex(6), str(chosen[0]), str(len(chosen))]
    return _run(target, "/api/v1/usage/", POST, arguments, connections, seconds)


def get_records(target: Target, *, connections: int, seconds: int = SECONDS) -> Sample:
    """Read records by id, here and there."""
    arguments = [str(target.records)]
    return _run(target, "/api/v1/usage/", GET, arguments, connections, seconds)


def get_path(target: Target, path: str, *, connections: int, seconds: int = SECONDS) -> Sample:
    """Read one address again and again."""
    return _run(target, path, GET, [], connections, seconds)


def _run(
    target: Target,
    path: str,
    script: Path,
    arguments: Sequence[str],
    connections: int,
    seconds: int,
) -> Sample:
    command = [PROGRAM, "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{seconds}s", "--timeout", "20s", "--script", str(script)]
    for name, value in target.headers.items():
        command += ["--header", f"{name}: {value}"]
    command += [target.url + path, "--", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = _RESULT.search(done.stdout)
    if found is None:
        raise LoadFailed(f"{path}: {done.stdout}{done.stderr}")
    requests, taken, p50, p99, failed = map(float, found.groups())
    if failed:
        raise LoadFailed(f"{path}: {failed:.0f} of {requests:.0f} requests were not answered well")
    return Sample(requests / taken, int(requests), p50, p99)
