"""Storing usage, by each database's own means.

Everyone writes rows in the same order, months, days, records, keys, and each kind in sorted
order: so two writers never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from billtrack.platform.driver import is_postgresql
from billtrack.usage.ingest.facts import Facts
from billtrack.usage.ingest.store import postgresql, sqlite
from billtrack.usage.records.rows import NewRecord
from billtrack.usage.records.submissions import Submission


class LookUp(Protocol):
    """Looks up what is known of records and of the keys that they come under."""

    def __call__(
        self, submissions: Sequence[Submission], hashes: Sequence[bytes | None], /
    ) -> Facts:
        """Return the facts for these records; keys that are None are not looked up."""


class Writer(Protocol):
    """Stores records, once and as a whole.

    `may_be_stored` tells, after a failure, that it is not known whether anything is stored.
    """

    may_be_stored: bool

    def look_up(
        self, submissions: Sequence[Submission], hashes: Sequence[bytes | None], /
    ) -> Facts:
        """Return the facts for these records."""

    def append(self, records: Sequence[NewRecord], /) -> Sequence[int]:
        """Store records that add usage; return their ids, in order. Raises KeyTaken, MonthFull."""


def writing() -> AbstractContextManager[Writer]:
    """Give a writer. What it stored is stored for good after the block."""
    return postgresql.writing() if is_postgresql() else sqlite.writing()


def reading() -> AbstractContextManager[LookUp]:
    """Give what looks up facts, to store nothing."""
    return postgresql.reading() if is_postgresql() else sqlite.reading()


def append_reversal(record: NewRecord) -> int:
    """Store a record that takes usage away, in the session's transaction; return its id.

    Raises KeyTaken when the usage was taken away before: the transaction has to end then.
    """
    append = postgresql.append_reversal if is_postgresql() else sqlite.append_reversal
    return append(record)
