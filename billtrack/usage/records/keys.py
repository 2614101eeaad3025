"""What an idempotency key is stored as, and by what a repeated record is known to be the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache

from billtrack.usage.records.instants import as_json_texts
from billtrack.usage.records.submissions import Submission, UsageInput

_json = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
_event = lru_cache(maxsize=1000)(_json)
"""There are few events, and many records of each."""


def key_hash(sent: Submission) -> bytes | None:
    """Return the 16 bytes that stand for source and key, or None without a key."""
    key = sent.item.idempotency_key
    return None if key is None else hash_of(sent.terms.recorded_by_id, sent.item.origin, key)


def hash_of(account_id: int, origin: str | None, key: str) -> bytes:
    """Return the 16 bytes that stand for the key of an account, and of the origin if it has one."""
    # The account is a number, and the length of the origin stands before it: however the
    # parts are written, no two triples look alike.
    source = f"{account_id}"
    if origin is not None:
        source += f"/{len(origin)}/{origin}"
    text = f"{source}:{key}"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def reversal_hash(record_id: int) -> bytes:
    """Return the 16 bytes that a reversal of the record claims among the keys.

    They are its fingerprint, too. A record is reversed once: the second reversal finds them taken.
    """
    # The texts of other keys begin with the number of an account: none looks like this one.
    return hashlib.blake2b(f"reversal:{record_id}".encode(), digest_size=16).digest()


def fingerprint(item: UsageInput) -> bytes:
    """Digest what the client sent: an omitted instant stays omitted, whatever the clock."""
    return fingerprints([item])[0]


def fingerprints(items: Sequence[UsageInput]) -> list[bytes]:
    """Return the fingerprint of each, in order."""
    times = as_json_texts([item.occurred_at for item in items])
    return [_fingerprint(item, at) for item, at in zip(items, times, strict=True)]


def _fingerprint(item: UsageInput, at: str) -> bytes:
    metadata = _json(dict(item.metadata)) if item.metadata else "null"
    # A JSON list, as stored digests were made of; written by hand in a third of the time.
    at = at.replace("Z", "+00:00")
    text = f"[{item.user_id},{_event(item.event)},{item.quantity},{at},{metadata}]"
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
