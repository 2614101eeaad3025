"""What a backup says about itself, so that a restoration can be compared with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from billtrack.core.errors import BilltrackError

MANIFEST = "manifest.json"
DATABASES = {"sqlite": "database.sqlite", "postgresql": "database.dump"}
"""The name of the database in an archive, by its kind."""

DOCUMENTS = "documents/"
SECRETS = {"secrets/secret_key": "secret_key", "secrets/demo-accounts.json": "demo-accounts.json"}
"""Files of the data folder that are kept (0600), by their name in an archive."""


class BackupRefused(BilltrackError):
    """The file is not a backup that can be restored here, or it is damaged."""

    code = "backup_refused"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class BackedUpFile(_Part):
    """One file in the archive: its size in bytes and its SHA-256."""

    path: str
    size: int
    sha256: str


class UsageTotal(_Part):
    """How many records there are of something, and the sum of their quantities."""

    records: int
    quantity: int


class Totals(_Part):
    """The rows of every table; usage by event, from the records and from the daily rollups."""

    rows: Mapping[str, int]
    recorded: Mapping[str, UsageTotal]
    rolled_up: Mapping[str, UsageTotal]

    def differences(self, other: Totals) -> Sequence[str]:
        """Name what differs between these totals and those of another database."""
        mine, others = self._figures(), other._figures()
        return [
            f"{name}: {mine.get(name, 0)}, but {others.get(name, 0)}"
            for name in sorted(mine.keys() | others.keys())
            if mine.get(name, 0) != others.get(name, 0)
        ]

    def _figures(self) -> dict[str, int]:
        figures = {f"rows of {table}": count for table, count in self.rows.items()}
        for where, usage in (("recorded", self.recorded), ("rolled up", self.rolled_up)):
            for event, total in usage.items():
                figures[f"{event} {where}"] = total.quantity
                figures[f"records of {event} {where}"] = total.records
        return figures


class Manifest(_Part):
    """All that a restoration has to know before it begins, and to compare when it has ended."""

    format: Literal[1]
    version: str
    revision: str
    database: Literal["sqlite", "postgresql"]
    timezone: str
    taken_at: AwareDatetime
    files: Sequence[BackedUpFile]
    missing_documents: Sequence[str]
    totals: Totals
