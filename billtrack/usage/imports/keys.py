"""The keys of lines that bring none, so that the same file twice adds nothing.

A line's key says what it records (user, event, quantity, instant, metadata; not in which order
or spelling the columns came) and how many equal lines stand above it in the file. So two equal
lines of one file are two records, and of a file that grew only the new lines are new.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from types import TracebackType
from typing import Self

from billtrack.usage.records.keys import fingerprint
from billtrack.usage.records.submissions import Misshapen, Sent

PREFIX = "csv-"
_COUNT = """
INSERT INTO seen VALUES (?, 1) ON CONFLICT (content) DO UPDATE SET times = times + 1
RETURNING times
"""


class LineKeys:
    """Counts equal lines, on disk once they are many: a dictionary would take 200 MB a million."""

    def __init__(self) -> None:
        # The name "" is a file that SQLite removes by itself; small ones never leave the memory.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE seen (content BLOB PRIMARY KEY, times INTEGER)")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self._database.close()

    def give(self, items: Sequence[Sent]) -> list[Sent]:
        """Return what the lines that come next say, each record with a key."""
        with closing(self._database.cursor()) as cursor:
            cursor.execute("BEGIN")
            keyed = [self._keyed(cursor, item) for item in items]
            cursor.execute("COMMIT")
        return keyed

    @staticmethod
    def _keyed(cursor: sqlite3.Cursor, item: Sent) -> Sent:
        if isinstance(item, Misshapen) or item.idempotency_key:
            return item
        content = fingerprint(item)
        ((times,),) = cursor.execute(_COUNT, (content,)).fetchall()
        return replace(item, idempotency_key=f"{PREFIX}{content.hex()}-{times}")
