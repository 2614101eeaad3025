"""What one run was asked to do, and what it has found out."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from bench.load import Target

PEER = "BENCH_PEER_URL"
PEER_USERS = range(1, 201)
PEER_RECORDS = 100_000


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

    @property
    def peer(self) -> Target | None:
        """Another service that takes usage as billtrack does, if BENCH_PEER_URL names one.

        It has users 1 to 200 and records 1 to 100,000.
        """
        url = os.environ.get(PEER, "").rstrip("/")
        return Target(url, PEER_USERS, records=PEER_RECORDS) if url else None
