"""Note what was refused, so that it can be looked at, fixed and sent once more.

Each is kept in memory until the thread of `writing` stores it, a moment later and in a
transaction of its own: the answer to the sender does not wait for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from billtrack.core.errors import BilltrackError, ConflictError, InvalidError
from billtrack.usage.records.keys import hash_of
from billtrack.usage.records.submissions import Misshapen, Terms, UsageInput
from billtrack.usage.sources.items import item_of, kept_text, named_user, usable_key
from billtrack.usage.sources.tally import current_tally, hour_of

MOST_ERRORS = 20
LONGEST_DETAIL = 500


def note_refused(sent: UsageInput, error: BilltrackError, *, terms: Terms) -> None:
    """Keep a record that was refused and counted; what may be tried again is not kept."""
    if isinstance(error, InvalidError | ConflictError):
        _note(item_of(sent), sent.origin, error, terms)


def note_misshapen(sent: Misshapen, *, terms: Terms) -> None:
    """Keep an item that is no record."""
    _note(sent.item, sent.origin, sent.error, terms)


def _note(item: Any, origin: str | None, error: BilltrackError, terms: Terms) -> None:
    pending, source = current_tally().refused, terms.recorded_by_id
    key_hash = _key_hash(item, origin, source)
    place = pending.find_place(source, key_hash, hour=hour_of(terms.now))
    if place is not None:
        pending.keep(place, row_of(item, origin, error, source, terms.now))


def row_of(
    item: Any, origin: str | None, error: BilltrackError, account_id: int, at: datetime
) -> Mapping[str, Any]:
    """Return the row that keeps the item, refused at this instant."""
    text, is_whole = kept_text(item)
    errors = [[one.field[:255], one.detail[:LONGEST_DETAIL]] for one in error.errors]
    return {
        "account_id": account_id,
        "origin": origin,
        "key_hash": _key_hash(item, origin, account_id),
        "user_id": named_user(item),
        "item": text,
        "is_whole": is_whole,
        "code": error.code,
        # PostgreSQL stores no text with NUL in it.
        "detail": error.detail[:LONGEST_DETAIL].replace("\0", ""),
        "errors": json.dumps(errors[:MOST_ERRORS]),
        "first_received_at": at,
        "last_received_at": at,
        "times": 1,
    }


def _key_hash(item: Any, origin: str | None, account_id: int) -> bytes | None:
    key = usable_key(item)
    return None if key is None else hash_of(account_id, origin, key)
