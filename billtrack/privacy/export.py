"""All that is held about a person as one ZIP of JSON files, written as it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Reach
from billtrack.accounts.users.queries import UserNotFound, find_user
from billtrack.platform import audit
from billtrack.platform.extensions import db
from billtrack.privacy.personal_data import HOLDINGS, Rows

BATCH = 1_000
"""Rows in memory at once."""

README = """\
Personal data of account {id}, as billtrack held them on {now}.

Each file is a list of rows in JSON; instants are UTC, quantities integers in base units.
audit_entries.json holds what this account did and what was done to it; audit_values.json what
the entries of the same number say about the person. Passwords, keys and tokens are stored as
digests only and are not part of this, nor is usage that the account recorded for others.
"""


@dataclass(slots=True)
class _Pipe:
    """What ZipFile writes to: keeps the bytes until they are sent."""

    parts: list[bytes] = field(default_factory=list)

    def write(self, data: bytes) -> int:
        """Keep the bytes; ZipFile may use its buffer again."""
        self.parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: what is written waits for whoever takes it."""

    def take(self) -> bytes:
        """Return what was written since the last time."""
        taken = b"".join(self.parts)
        self.parts.clear()
        return taken


def note_export(user_id: int, *, actor: audit.Actor, reach: Reach, now: datetime) -> User:
    """Note in the audit log that the data are handed out, and return the account.

    The caller owns the transaction, and streams afterwards. Raises UserNotFound.
    """
    user = find_user(user_id) if reach.covers(user_id) else None
    if user is None:
        raise UserNotFound(user_id)
    audit.record("user.exported", actor=actor, now=now, object_type="user", object_id=user.id)
    return user


def export_disposition(user_id: int, *, now: datetime) -> str:
    """Return the header that names the download: not after the person."""
    name = f"personal-data-user-{user_id}-{now.astimezone(UTC):%Y-%m-%d}.zip"
    return f'attachment; filename="{name}"'


def stream_export(user_id: int, *, now: datetime) -> Iterator[bytes]:
    """Yield the ZIP, read from one snapshot and at most 1,000 rows at a time."""
    pipe = _Pipe()
    with ZipFile(pipe, "w", ZIP_DEFLATED) as archive:  # type: ignore[call-overload]
        archive.writestr(_entry("README.txt", now), README.format(id=user_id, now=_plain(now)))
        for name, query in HOLDINGS.items():
            with archive.open(_entry(f"{name}.json", now), "w", force_zip64=True) as file:
                for part in _rows(query(user_id)):
                    file.write(part.encode())
                    yield pipe.take()
    yield pipe.take()


def _entry(name: str, now: datetime) -> ZipInfo:
    entry = ZipInfo(name, now.astimezone(UTC).timetuple()[:6])
    entry.compress_type = ZIP_DEFLATED
    return entry


def _rows(query: Rows) -> Iterator[str]:
    """Yield a list in JSON, a row on each line."""
    before = "[\n"
    for rows in (
        db.session.execute(query.execution_options(yield_per=BATCH)).mappings().partitions()
    ):
        lines = [json.dumps(dict(row), ensure_ascii=False, default=_plain) for row in rows]
        yield before + ",\n".join(lines)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _plain(value: date) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat()
