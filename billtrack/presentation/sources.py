"""The journal of sources as plain view data for templates."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from billtrack.usage.sources.queries import SourceView
from billtrack.usage.sources.rejected import Reason, RejectedView

MOST_SHOWN = 40
REFUSALS = {
    "idempotency_conflict": "Key taken by another record",
    "inactive_user": "User deactivated",
    "invalid": "Invalid fields",
    "invalid_quantity": "Invalid quantity",
    "occurred_at_out_of_range": "Too old, or in the future",
    "quantity_overflow": "Quantity too large",
    "unknown_event": "Unknown event",
    "unknown_user": "Unknown user",
}


def refusal_words(code: str) -> str:
    """Return the code of a refusal in words."""
    return REFUSALS.get(code, code.replace("_", " ").capitalize())


def silent_rows(sources: Sequence[SourceView]) -> list[dict[str, Any]]:
    """Return sources that are missed as journal/_silent.html takes them."""
    return [
        {"id": one.account_id, "name": one.name, "since": one.silent_since_at} for one in sources
    ]


def reason_rows(reasons: Sequence[Reason]) -> list[dict[str, Any]]:
    """Return reasons as journal/_reasons.html takes them."""
    return [
        {
            "id": one.id,
            "source_id": one.account_id,
            "source": one.source_name,
            "code": one.code,
            "words": refusal_words(one.code),
            "detail": one.detail,
            "count": one.count,
        }
        for one in reasons
    ]


def rejected_row(found: RejectedView) -> dict[str, Any]:
    """Return a refused record as journal/rejected.html takes it; values as they were sent."""
    sent = found.item if isinstance(found.item, Mapping) else {}
    return {
        "id": found.id,
        "source_id": found.account_id,
        "source": found.source_name,
        "origin": found.origin,
        "code": found.code,
        "words": refusal_words(found.code),
        "detail": found.detail,
        **{name: _short(sent.get(name)) for name in ("user_id", "event", "quantity")},
        "is_whole": found.is_whole,
        "first_at": found.first_received_at,
        "last_at": found.last_received_at,
        "times": found.times,
        "record_id": found.record_id,
        "replayed_at": found.replayed_at,
    }


def _short(value: Any) -> str:
    """Write a value as it was sent, whatever it is; nothing where it was left out."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= MOST_SHOWN else f"{text[: MOST_SHOWN - 1]}…"
