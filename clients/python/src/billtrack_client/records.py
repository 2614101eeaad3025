"""A usage record as one line of JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from math import isfinite

MetadataValue = str | int | float | bool

MAX_QUANTITY = 10**15
MAX_ID = 10**18 - 1
MAX_KEY = 255
MAX_METADATA = 2048

_EVENT = re.compile(r"[a-z][a-z0-9_]{0,63}")


def encode(
    *,
    user_id: int,
    event: str,
    quantity: int,
    occurred_at: datetime,
    idempotency_key: str,
    metadata: Mapping[str, MetadataValue] | None,
) -> bytes:
    """Return the record as a line of JSON that ends in a newline.

    Quantities are in base units. Raises TypeError or ValueError for what no server would take.
    """
    _require_whole(user_id, "user_id", MAX_ID)
    _require_whole(quantity, "quantity", MAX_QUANTITY)
    if not _EVENT.fullmatch(event):
        raise ValueError(f"event must be the code of a meter such as api_calls, not {event!r}")
    if getattr(occurred_at, "tzinfo", None) is None:
        raise ValueError("occurred_at must be aware: datetime.now(UTC), not datetime.now()")
    if not 1 <= len(idempotency_key) <= MAX_KEY or not str.isprintable(idempotency_key):
        raise ValueError(f"idempotency_key must be 1 to {MAX_KEY} printable characters")
    record: dict[str, object] = {
        "user_id": user_id,
        "event": event,
        "quantity": quantity,
        "occurred_at": occurred_at.astimezone(UTC).isoformat(),
        "idempotency_key": idempotency_key,
    }
    if metadata:
        record["metadata"] = _checked(metadata)
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _require_whole(value: object, name: str, most: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if not 1 <= value <= most:
        raise ValueError(f"{name} must be from 1 to {most}, not {value}")


def _checked(metadata: Mapping[str, object]) -> dict[str, object]:
    checked = dict(metadata)
    for name, value in checked.items():
        if not isinstance(value, str | int | float):
            raise TypeError("metadata must be texts, numbers and booleans by name")
        if isinstance(value, float) and not isfinite(value):
            raise ValueError(f"metadata {name!r} must be a finite number")
    if len(repr(checked).encode()) > MAX_METADATA:
        raise ValueError(f"metadata must be at most {MAX_METADATA} bytes")
    return checked
