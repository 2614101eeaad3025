"""What one run was asked to do, and what it has found out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from bench.cpu import find_listeners
from bench.load import Target

BASELINE = "BENCH_BASELINE"
PEER = "BENCH_PEER_URL"
PEER_USERS = range(1, 201)
PEER_RECORDS = 100_000
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")


@dataclass(slots=True)
class Run:
    """The size of a run, the peer, and remarks to print below the table."""

    rounds: int = 5
    seconds: int = 3
    customers: int = 1000
    records: int = 200_000
    notes: list[str] = field(default_factory=list)

    def note(self, remark: str) -> None:
        """Keep a remark for the end."""
        self.notes.append(remark)

    def note_absences(self) -> None:
        """Keep remarks about comparisons that are left out."""
        if self.baseline is None:
            self.note(f"no baseline: {BASELINE} is not set")
        if self.peer is None:
            self.note(f"no peer: {PEER} is not set")
        elif not self.peer.pids:
            self.note("no CPU time of the peer: no process here is seen to listen on its port")

    @property
    def peer(self) -> Target | None:
        """Another service that takes usage as billtrack does, if BENCH_PEER_URL names one.

        It has users 1 to 200 and records 1 to 100,000.
        """
        url = os.environ.get(PEER, "").rstrip("/")
        if not url:
            return None
        return Target(url, PEER_USERS, records=PEER_RECORDS, pids=_local_listeners(url))

    @property
    def baseline(self) -> Path | None:
        """The folder of another checkout of billtrack, if BENCH_BASELINE names one."""
        folder = os.environ.get(BASELINE)
        return Path(folder) if folder else None


def _local_listeners(url: str) -> Sequence[int]:
    address = urlsplit(url)
    is_local = address.hostname in LOCAL_HOSTS
    return find_listeners(address.port or 80) if is_local else []
