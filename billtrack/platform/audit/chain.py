"""How entries are chained: pure arithmetic on what an entry says, no database.

Every hash covers the one before, so nothing can be altered, removed or moved without all later
hashes changing. Of a personal value only a salted digest is covered: without value and salt
nobody can tell or guess what it was, and the chain still holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

START = bytes(32)
"""What the first entry has in place of the hash before it."""

SALT_BYTES = 16


class Link(NamedTuple):
    """All of an entry that its hash covers, `personal` as (field, account, digest) by field."""

    id: int
    at: datetime
    actor_user_id: int | None
    actor_api_key_id: int | None
    request_id: str | None
    action: str
    object_type: str
    object_id: int | None
    changes: Mapping[str, Any]
    personal: Sequence[tuple[str, int | None, bytes]]


def chain_hash(previous: bytes, link: Link) -> bytes:
    """Return the 32 bytes of an entry that follows the one with the hash `previous`."""
    personal = [(field, user_id, digest.hex()) for field, user_id, digest in link.personal]
    return hashlib.sha256(previous + _written([*link[:-1], personal])).digest()


def personal_digest(salt: bytes, before: str | None, value: str | None) -> bytes:
    """Return the 32 bytes that stand for a personal value, before and after the change."""
    return hashlib.sha256(salt + _written([before, value])).digest()


def _written(what: Any) -> bytes:
    # As ASCII, by name: databases and versions of Python may order and write JSON in other ways.
    text = json.dumps(what, sort_keys=True, separators=(",", ":"), default=datetime.isoformat)
    return text.encode()
