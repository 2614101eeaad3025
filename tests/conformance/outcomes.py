"""Expected outcome of each record, derived by hand from the contract.

`Outcome.status` is the status of the route for one record; other ways map the verdict to their own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.conformance.records import BACKFILL, LONG_NAME, Shift

ACCEPTED, DUPLICATE, CONFLICT, REJECTED = "accepted", "duplicate", "conflict", "rejected"
REFUSED = "refused"
"""The request is refused before its records are read: by its credential or its budget."""

GENERATED = "made by billtrack"
"""Marker for a key that a way makes where the record has none."""


@dataclass(frozen=True)
class Outcome:
    """Expected outcome of a record.

    `at` is the stored instant in UTC, None for the moment of receipt; `day` the billing day, None
    for that of `at`. `is_late`: it belongs to a month before the current one. `is_shaped`: it is
    a record, whether or not it is acceptable. `is_counted`: for its source.
    """

    verdict: str
    status: int
    code: str | None = None
    event: str = "api_calls"
    quantity: int = 5
    at: str | Shift | None = "2025-06-15T12:00:00+00:00"
    day: str | None = "2025-06-15"
    key: str | None = ""
    metadata: Mapping[str, Any] | None = None
    is_late: bool = True
    is_shaped: bool = True
    is_counted: bool = True


STORED = Outcome(ACCEPTED, 201)
"""Stored as BASE says, under the name of the record as its key."""

MISSHAPEN = Outcome(REJECTED, 422, "invalid", is_shaped=False)
KNOWN = Outcome(DUPLICATE, 200)
OTHER = Outcome(CONFLICT, 409, "idempotency_conflict")
NOW = replace(STORED, at=None, day=None, is_late=False)


def ruled_out(code: str) -> Outcome:
    return Outcome(REJECTED, 422, code)


def turned_away(status: int, code: str) -> Outcome:
    return Outcome(REFUSED, status, code)


def on(day: str, at: str) -> Outcome:
    return replace(STORED, day=day, at=at)


OUTCOMES: Mapping[str, Outcome] = {
    "plain": STORED,
    "without_key": replace(STORED, key=None),
    "without_time": NOW,
    "nulls": replace(NOW, key=None),
    "extra_field": MISSHAPEN,
    "no_quantity": MISSHAPEN,
    "no_event": MISSHAPEN,
    "no_user": MISSHAPEN,
    "quantity_null": MISSHAPEN,
    "quantity_true": MISSHAPEN,
    "quantity_float": MISSHAPEN,
    "quantity_fraction": MISSHAPEN,
    "quantity_text": MISSHAPEN,
    "quantity_list": MISSHAPEN,
    "user_text": MISSHAPEN,
    "user_zero": MISSHAPEN,
    "event_number": MISSHAPEN,
    "event_capitals": MISSHAPEN,
    "key_number": MISSHAPEN,
    "quantity_0": MISSHAPEN,
    "quantity_1": replace(STORED, quantity=1),
    "quantity_most": replace(STORED, quantity=1_000_000_000_000_000),
    "quantity_beyond": MISSHAPEN,
    "quantity_negative": MISSHAPEN,
    "quantity_huge": MISSHAPEN,
    "key_empty": MISSHAPEN,
    "key_longest": replace(STORED, key=LONG_NAME),
    "key_too_long": MISSHAPEN,
    "key_line_break": MISSHAPEN,
    "key_nul": MISSHAPEN,
    "key_other_script": replace(STORED, key="ключ 𝔘"),
    "month_fits": STORED,
    "month_full": ruled_out("quantity_overflow"),
    "repeated": KNOWN,
    "repeated_in_other_words": KNOWN,
    "repeated_without_time": KNOWN,
    "repeated_after_end": KNOWN,
    "conflict_quantity": OTHER,
    "conflict_event": OTHER,
    "conflict_unknown_event": OTHER,
    "conflict_metadata": OTHER,
    "conflict_time": OTHER,
    "misshapen_repeat": MISSHAPEN,
    "future_inside": replace(NOW, at=Shift(270)),
    "future_outside": ruled_out("occurred_at_out_of_range"),
    "backfill_inside": replace(STORED, at=Shift(60 - BACKFILL), day=None),
    "backfill_outside": ruled_out("occurred_at_out_of_range"),
    "offset": STORED,
    "nanoseconds": replace(STORED, at="2025-06-15T12:00:00.123456+00:00"),
    "small_letters": STORED,
    "without_zone": MISSHAPEN,
    "without_t": MISSHAPEN,
    "time_number": MISSHAPEN,
    "no_such_day": MISSHAPEN,
    "year_1999": MISSHAPEN,
    "year_3000": MISSHAPEN,
    "end_of_summer_day": on("2025-06-14", "2025-06-14T21:59:59+00:00"),
    "start_of_summer_day": on("2025-06-15", "2025-06-14T22:00:00+00:00"),
    "end_of_winter_day": on("2025-01-14", "2025-01-14T22:59:59+00:00"),
    "start_of_winter_day": on("2025-01-15", "2025-01-14T23:00:00+00:00"),
    "start_of_short_day": on("2025-03-30", "2025-03-29T23:00:00+00:00"),
    "end_of_short_day": on("2025-03-30", "2025-03-30T21:59:59+00:00"),
    "end_of_long_day": on("2025-10-26", "2025-10-26T22:59:59+00:00"),
    "start_after_long_day": on("2025-10-27", "2025-10-26T23:00:00+00:00"),
    "start_of_month": on("2025-04-01", "2025-03-31T22:00:00+00:00"),
    "metadata_kinds": replace(
        STORED, metadata={"text": "Zürich ✓", "n": -7, "part": 1.5, "on": True}
    ),
    "metadata_empty": STORED,
    "metadata_text": MISSHAPEN,
    "metadata_list": MISSHAPEN,
    "metadata_too_big": MISSHAPEN,
    "metadata_nested": MISSHAPEN,
    "metadata_null": MISSHAPEN,
    "metadata_line_break": replace(STORED, metadata={"a": "b\nc"}),
    "metadata_nul": MISSHAPEN,
    "metadata_half_pair": turned_away(400, "unparsable"),
    "user_unknown": ruled_out("unknown_user"),
    "user_inactive": ruled_out("inactive_user"),
    "user_manager": STORED,
    "event_unknown": ruled_out("unknown_event"),
    "event_gone": ruled_out("unknown_event"),
    "key_revoked": turned_away(401, "unauthenticated"),
    "key_expired": turned_away(401, "unauthenticated"),
    "key_narrowed": turned_away(403, "forbidden"),
    "key_of_customer": turned_away(403, "forbidden"),
    "sender_deactivated": turned_away(401, "unauthenticated"),
    "sender_demoted": turned_away(403, "forbidden"),
    "budget_spent": turned_away(429, "rate_limited"),
}
