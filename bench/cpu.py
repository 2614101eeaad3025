"""CPU time per request of a server's process tree, and of its PostgreSQL backends.

Both are read from /proc, which only Linux has.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bench.load import Target
from bench.measure import Round, Sample
from tests.scenarios.harness import command_line, descendants

TICKS = os.sysconf("SC_CLK_TCK")
LISTENING = "0A"


@dataclass(frozen=True, slots=True)
class Clock:
    """CPU seconds up to a moment: of a server's processes, and of each backend."""

    server: float
    backends: Mapping[int, float]


def metered(run: Round, target: Target) -> Round:
    """Return the same round with the CPU time of the target per request or record."""

    def once() -> Sample:
        before = _read_clock(target)
        sample = run()
        after = _read_clock(target)
        backends = sum(
            seconds - before.backends.get(pid, 0) for pid, seconds in after.backends.items()
        )
        return replace(
            sample,
            cpu=_microseconds(after.server - before.server, sample.count),
            database_cpu=_microseconds(backends, sample.count),
        )

    return once


def family(pids: Iterable[int]) -> set[int]:
    """Return the processes and all their descendants."""
    roots = set(pids)
    return roots.union(*map(descendants, roots))


def tree_seconds(pids: Iterable[int]) -> float:
    """Return the CPU time of a family, including children that have ended."""
    return sum(own + ended for own, ended in map(_seconds, family(pids)))


def find_listeners(port: int) -> list[int]:
    """Return the processes that listen on a TCP port; those of other users only for root."""
    sockets = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    return [pid for pid in _pids() if not sockets.isdisjoint(_open_files(pid))]


def find_backends(database: str) -> list[int]:
    """Return the PostgreSQL processes on this machine that serve connections to a database."""
    titles = {pid: command_line(pid) for pid in _pids()}
    return [
        pid
        for pid, title in titles.items()
        if title.startswith("postgres: ") and f" {database} " in title
    ]


def _read_clock(target: Target) -> Clock:
    backends = find_backends(target.backends_of) if target.backends_of else []
    return Clock(tree_seconds(target.pids), {pid: _seconds(pid)[0] for pid in backends})


def _microseconds(seconds: float, count: int) -> float | None:
    # No tick of the clock: the processes are not known, or the round was too short.
    return 1e6 * seconds / count if seconds > 0 else None


def _seconds(pid: int) -> tuple[float, float]:
    """Return the CPU time of a process and that of its ended children; zeros if it is gone."""
    with suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        user, system, ended_user, ended_system = map(int, stat[11:15])
        return (user + system) / TICKS, (ended_user + ended_system) / TICKS
    return 0, 0


def _listening_inodes(port: int) -> Iterator[str]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        lines = table.read_text().splitlines()[1:] if table.exists() else []
        for _, local, _, state, *_, inode in (line.split()[:10] for line in lines):
            if state == LISTENING and int(local.rpartition(":")[2], 16) == port:
                yield inode


def _open_files(pid: int) -> list[str]:
    files: list[str] = []
    with suppress(OSError):  # not ours to look at, or just ended
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since
                files.append(os.readlink(file))  # noqa: PTH115 (a Path of `socket:[1]` says less)
    return files


def _pids() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]
