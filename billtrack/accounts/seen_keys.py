"""API keys as this process saw them last, so that most requests need not ask what they are.

Lets nobody in by itself: whoever relies on it makes `HOLD` a condition of what they do. What
was revoked, or belongs to somebody deactivated meanwhile, is found out there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flask import current_app

if TYPE_CHECKING:
    from billtrack.accounts.api_keys import LiveKey

MOST = 10_000
"""Beyond so many all are forgotten, and seen again as they come."""

EXTENSION = "billtrack.seen_keys"

HOLD = """
SELECT bool_and((
    SELECT id = seen.id AND revoked_at IS NULL AND scopes = seen.scopes
        AND expires_at IS NOT DISTINCT FROM seen.expires_at
        AND (SELECT role = seen.role AND deactivated_at IS NULL FROM users WHERE id = user_id)
    FROM api_keys WHERE key_hash = seen.key_hash
) IS TRUE)
FROM json_to_recordset(%(keys)s::json) AS seen (
    key_hash text, id bigint, scopes jsonb, expires_at timestamptz, role text
)
"""
"""Whether all of `keys`, as `as_seen` has them, still let in the same accounts (PostgreSQL)."""


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


def as_seen(keys: Iterable[LiveKey]) -> list[dict[str, Any]]:
    """Return what `HOLD` compares with the keys as they are now."""
    return [
        {
            "key_hash": key.key_hash,
            "id": key.id,
            "scopes": key.scopes,
            "expires_at": key.expires_at,
            "role": key.role,
        }
        for key in keys
    ]


def _seen() -> dict[str, LiveKey]:
    seen: dict[str, LiveKey] = current_app.extensions.setdefault(EXTENSION, {})
    return seen
