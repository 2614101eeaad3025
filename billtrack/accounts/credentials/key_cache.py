"""API keys as this process saw them last, so that most requests need not ask what they are.

Lets nobody in by itself: whoever relies on it makes `HOLDS` a condition of what they do. What
was revoked, or belongs to somebody deactivated meanwhile, is found out there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask import current_app

MOST = 10_000
"""Beyond so many all are forgotten, and seen again as they come."""

EXTENSION = "billtrack.seen_keys"

COLUMNS = "key_hash text, id bigint, scopes jsonb, expires_at timestamptz, role text"
"""The columns of a row `seen`, which tells what a key was (PostgreSQL)."""

HOLDS = """
(
    SELECT id = seen.id AND revoked_at IS NULL AND scopes = seen.scopes
        AND expires_at IS NOT DISTINCT FROM seen.expires_at
        AND (SELECT role = seen.role AND deactivated_at IS NULL FROM users WHERE id = user_id)
    FROM api_keys WHERE key_hash = seen.key_hash
) IS TRUE
"""
"""Whether the key of a row `seen` still lets in the same account, as it did."""

ALL_HOLD = f"""
SELECT bool_and({HOLDS}) FROM json_to_recordset(%(keys)s::json) AS seen ({COLUMNS})
"""  # noqa: S608 (all of its parts are ours)
"""Whether all of `keys` do, as `as_seen` has them."""


@dataclass(frozen=True, slots=True)
class LiveKey:
    """A key that is not revoked, with its active account."""

    key_hash: str
    id: int
    scopes: Sequence[str]
    expires_at: datetime | None
    used_at: datetime | None
    user_id: int
    role: str
    name: str
    email: str


def find(key_hash: str) -> LiveKey | None:
    """Return the key as it was seen last; no database is asked."""
    return _seen().get(key_hash)


def note(key_hashes: Iterable[str], found: Mapping[str, LiveKey]) -> None:
    """Remember what was found of the keys that were just looked up."""
    seen = _seen()
    if len(seen) > MOST:
        seen.clear()
    for key_hash in key_hashes:
        if key_hash in found:
            seen[key_hash] = found[key_hash]
        else:
            seen.pop(key_hash, None)


def as_seen(keys: Iterable[LiveKey]) -> list[Mapping[str, Any]]:
    """Return what `ALL_HOLD` compares with the keys as they are now."""
    return [as_row(key) for key in keys]


def as_row(key: LiveKey) -> Mapping[str, Any]:
    """Return the row `seen` of a key."""
    return {
        "key_hash": key.key_hash,
        "id": key.id,
        "scopes": key.scopes,
        "expires_at": key.expires_at,
        "role": key.role,
    }


def _seen() -> dict[str, LiveKey]:
    seen: dict[str, LiveKey] = current_app.extensions.setdefault(EXTENSION, {})
    return seen
