"""Refused records that wait in memory to be stored: soon, and not too many of them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

MOST_KEPT = 100
"""Refused records of a source that are kept of an hour; more are only counted."""

MOST_WAITING = 1000
"""Refused records that wait to be stored, of all sources."""

RefusedRow = Mapping[str, Any]
"""A row of the table of refused records."""

Place = bytes | object
"""The hash of a key, or for what has none something that equals nothing else."""


class Pending:
    """What was refused and is not stored yet; the same under its key waits once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[Place, RefusedRow] = {}
        self._places: dict[int, set[Place]] = {}
        self._hour = datetime.min.replace(tzinfo=UTC)
        self._awake = threading.Event()

    def find_place(self, source: int, key_hash: bytes | None, *, hour: datetime) -> Place | None:
        """Return a place for a record that was refused in this hour, or None if all are taken.

        Each key has one place in an hour, however often it comes.
        """
        place: Place = key_hash or object()
        with self._lock:
            if hour != self._hour:
                self._places, self._hour = {}, hour
            taken = self._places.setdefault(source, set())
            if place in taken:
                return place
            if len(taken) >= MOST_KEPT or len(self._rows) >= MOST_WAITING:
                return None
            taken.add(place)
            return place

    def keep(self, place: Place, row: RefusedRow) -> None:
        """Keep the record until it is stored."""
        with self._lock:
            self._rows[place] = _merged(self._rows.get(place), row)
        self.wake()

    def take(self) -> Mapping[Place, RefusedRow]:
        """Return what waits, in the order in which it came; nothing waits afterwards."""
        with self._lock:
            taken, self._rows = self._rows, {}
        return taken

    def give_back(self, taken: Mapping[Place, RefusedRow]) -> None:
        """Let what could not be stored wait again."""
        with self._lock:
            later, self._rows = self._rows, dict(taken)
            for place, row in later.items():
                self._rows[place] = _merged(self._rows.get(place), row)

    def wake(self) -> None:
        """Let whoever waits in `wait` go on."""
        self._awake.set()

    def wait(self, seconds: float) -> None:
        """Wait until there is something to store, and no longer than this."""
        self._awake.wait(seconds)
        self._awake.clear()


def _merged(before: RefusedRow | None, row: RefusedRow) -> RefusedRow:
    if before is None:
        return row
    return {
        **row,
        "first_received_at": before["first_received_at"],
        "times": before["times"] + row["times"],
    }
