"""Prove that the audit log is what was written: no entry altered, removed or moved.

What the log itself cannot show: whoever may do everything with the database can write a whole
new chain. Against that helps a hash of the end, kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from billtrack.core.errors import BilltrackError
from billtrack.platform.audit.chain import START, Link, chain_hash, personal_digest
from billtrack.platform.audit.models import AuditEntry, AuditHead, AuditPersonalValue
from billtrack.platform.db import end_read
from billtrack.platform.extensions import db

AT_ONCE = 1_000
"""Entries in memory at the same time."""

_ENTRIES = select(*(getattr(AuditEntry, name) for name in Link._fields[:-1]), AuditEntry.hash)
_VALUES = select(
    AuditPersonalValue.entry_id,
    AuditPersonalValue.field,
    AuditPersonalValue.user_id,
    AuditPersonalValue.before,
    AuditPersonalValue.value,
    AuditPersonalValue.salt,
    AuditPersonalValue.digest,
)


class LogBroken(BilltrackError):
    """The audit log is not what was written; the message names the first place."""

    code = "audit_log_broken"


@dataclass(slots=True)
class Verified:
    """What was found to be whole: entries, personal values erased, and the end of the chain.

    `known_at` is the entry whose hash is the head that was known.
    """

    entries: int = 0
    erased: int = 0
    last_id: int = 0
    head: bytes = START
    known_at: int | None = None


def verify(*, known_head: bytes | None = None) -> Verified:
    """Follow the chain from its first entry to its end, as things stand now.

    `known_head` is the hash of an end that was told before: the chain has to come by it.
    Raises LogBroken at the first entry that is not what was written.
    """
    end_read()
    found = Verified(known_at=0 if known_head == START else None)
    for row, people in _entries():
        found.head = _require_link(row, people, found)
        found.erased += _require_values(row, people)
        found.entries, found.last_id = found.entries + 1, row.id
        if found.head == known_head:
            found.known_at = row.id
    _require_end(found)
    end_read()
    if known_head is not None and found.known_at is None:
        raise LogBroken(
            "The chain does not come by the head that was given: after that was told, entries "
            "were removed from the end, or the chain was written anew."
        )
    return found


def _entries() -> Iterator[tuple[Any, list[Any]]]:
    """Return every entry with its personal values by field, by id, a chunk in memory at a time."""
    last_id = -1
    while True:
        query = _ENTRIES.where(AuditEntry.id > last_id).order_by(AuditEntry.id).limit(AT_ONCE)
        rows: Sequence[Any] = db.session.execute(query).all()
        if not rows:
            return
        last_id = rows[-1].id
        within = AuditPersonalValue.entry_id.between(rows[0].id, last_id)
        people: dict[int, list[Any]] = {row.id: [] for row in rows}
        for value in db.session.execute(_VALUES.where(within)):
            people[value.entry_id].append(value)
        for row in rows:
            yield row, sorted(people[row.id], key=lambda value: str(value.field))


def _require_link(row: Any, people: Sequence[Any], before: Verified) -> bytes:
    """Return the hash of the entry; raises LogBroken when it does not follow the one before."""
    personal = [(value.field, value.user_id, value.digest) for value in people]
    found = chain_hash(before.head, Link._make([*row[:-1], personal]))
    if found == row.hash:
        return found
    # Numbers left out are no proof by themselves: before there was a chain, some were.
    if row.id - before.last_id > 1:
        raise LogBroken(
            f"Entry {row.id} does not follow entry {before.last_id}: entries between them were "
            f"removed, or entry {row.id} ({row.action}) was altered or moved."
        )
    raise LogBroken(
        f"Entry {row.id} ({row.action}) is not what was written after entry {before.last_id}: "
        "it, or its personal values, were altered, moved or put in."
    )


def _require_values(row: Any, people: Sequence[Any]) -> int:
    """Return how many values are erased; raises LogBroken when another one was altered."""
    erased = 0
    for value in people:
        if value.salt is None and value.before is None and value.value is None:
            erased += 1
        elif personal_digest(value.salt or b"", value.before, value.value) != value.digest:
            raise LogBroken(
                f"Entry {row.id} ({row.action}): the personal value {value.field} was altered."
            )
    return erased


def _require_end(found: Verified) -> None:
    head = db.session.execute(select(AuditHead.last_id, AuditHead.count, AuditHead.hash))
    end = head.one_or_none()
    if end is None:
        raise LogBroken("The row of audit_head is missing: it tells where the chain ends.")
    if tuple(end) == (found.last_id, found.entries, found.head):
        return
    if end.last_id > found.last_id:
        raise LogBroken(
            f"Entries after {found.last_id} are missing: the chain ended with {end.last_id}."
        )
    raise LogBroken(
        f"The chain ends with entry {found.last_id}, but audit_head says {end.last_id} as the "
        f"last of {end.count}: it was altered, or entries were put in."
    )
