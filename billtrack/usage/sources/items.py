"""A refused item as it was sent, small and without secrets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from billtrack.platform.redaction import redact
from billtrack.usage.records.submissions import UsageInput

MOST_BYTES = 8192
LONGEST_FIELD = 300
FIELDS = ("user_id", "event", "quantity", "occurred_at", "idempotency_key", "metadata")


def item_of(sent: UsageInput) -> dict[str, Any]:
    """Return a record that was understood as an item again; what was left out stays out."""
    values = {
        "user_id": sent.user_id,
        "event": sent.event,
        "quantity": sent.quantity,
        "occurred_at": _written(sent.occurred_at),
        "idempotency_key": sent.idempotency_key,
        "metadata": dict(sent.metadata) if sent.metadata else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def kept_text(item: Any) -> tuple[str, bool]:
    """Return the item as JSON of at most 8 KiB, and whether that is all of it.

    Secrets are hidden. Of one that is larger the short fields of a record are kept.
    """
    hidden = redact(item)
    text = json.dumps(hidden)
    if len(text) <= MOST_BYTES:
        return text, hidden == item
    parts = hidden.items() if isinstance(hidden, dict) else ()
    short = {
        name: value
        for name, value in parts
        if name in FIELDS and len(json.dumps(value)) <= LONGEST_FIELD
    }
    return json.dumps(short), False


def named_user(item: Any) -> int | None:
    """Return the number of the user that the item names, whether or not there is one."""
    found = item.get("user_id") if isinstance(item, Mapping) else None
    if not isinstance(found, int) or isinstance(found, bool):
        return None
    return found if 0 < found < 10**18 else None


def usable_key(item: Any) -> str | None:
    """Return the idempotency key of the item where it is one."""
    found = item.get("idempotency_key") if isinstance(item, Mapping) else None
    is_key = isinstance(found, str) and 0 < len(found) <= 255 and found.isprintable()  # noqa: PLR2004
    return found if is_key and redact(found) == found else None


def _written(instant: datetime | None) -> str | None:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z") if instant else None
