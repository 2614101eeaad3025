"""Records of the conformance table: the fields that are sent, and the state before.

To add a record:

1. Add a `Record` to RECORDS.
2. Add its outcome under the same name to OUTCOMES in `outcomes.py`.
3. If a way cannot carry it, add it to EXCLUDED in `exclusions.py` with the reason.
4. If a way differs from the contract, add the cell to KNOWN in `known.py`.
5. Correct the numbers of cells in `test_conformance.py`. They are literals: a cell that is lost
   fails the test.

To add a way: write a subclass of `Way` and add it to WAYS in `test_conformance.py`.

Each record has its own sender and its own customer, so records do not disturb each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

BACKFILL_DAYS = 9_500
"""Backfill limit in days. It is long, so instants can be literals for years to come."""

BACKFILL = BACKFILL_DAYS * 86_400


class Person(Enum):
    """Accounts that a record may name."""

    OWN = "the customer of the record"
    MANAGER = "a manager"


class Field(Enum):
    """Marker for a field that is not sent."""

    ABSENT = "absent"


@dataclass(frozen=True)
class Shift:
    """An instant so many seconds after the moment of sending."""

    seconds: int


OWN, ABSENT = Person.OWN, Field.ABSENT
BASE: Mapping[str, Any] = {
    "user_id": OWN,
    "event": "api_calls",
    "quantity": 5,
    "occurred_at": "2025-06-15T12:00:00Z",
}
"""Fields of a record that does not change them; its idempotency key is its name."""

GONE = "gone"
LONG_NAME = "k" * 255
BIG = {"text": "x" * 2100}


@dataclass(frozen=True)
class Record:
    """A record to send; `changes` are its fields that are not those of BASE.

    `earlier` are records that the same account has sent before. `month_holds` is the quantity
    that the customer has used in June 2025. `credential` is the API key by which it is sent:
    good, revoked, expired, narrowed, of a customer, spent; of a sender that is deactivated or has
    become a customer. `is_event_gone`: the process has met the event, which is there no more.
    """

    name: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    earlier: tuple[Mapping[str, Any], ...] = ()
    is_deactivated: bool = False
    month_holds: int = 0
    credential: str = "good"
    is_event_gone: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """Fields that are sent; persons and shifts are markers still."""
        return self.fields_of(self.changes)

    def fields_of(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        values = {**BASE, "idempotency_key": self.name, **changes}
        return {name: value for name, value in values.items() if value is not ABSENT}


def at(text: str) -> dict[str, Any]:
    return {"occurred_at": text}


def metadata(value: Any) -> dict[str, Any]:
    return {"metadata": value}


SHAPES = [
    Record("plain"),
    Record("without_key", {"idempotency_key": ABSENT}),
    Record("without_time", {"occurred_at": ABSENT}),
    Record("nulls", {"occurred_at": None, "idempotency_key": None, "metadata": None}),
    Record("extra_field", {"price": 1}),
    Record("no_quantity", {"quantity": ABSENT}),
    Record("no_event", {"event": ABSENT}),
    Record("no_user", {"user_id": ABSENT}),
    Record("quantity_null", {"quantity": None}),
    Record("quantity_true", {"quantity": True}),
    Record("quantity_float", {"quantity": 5.0}),
    Record("quantity_fraction", {"quantity": 5.5}),
    Record("quantity_text", {"quantity": "5"}),
    Record("quantity_list", {"quantity": [5]}),
    Record("user_text", {"user_id": "7"}),
    Record("user_zero", {"user_id": 0}),
    Record("event_number", {"event": 5}),
    Record("event_capitals", {"event": "API_CALLS"}),
    Record("key_number", {"idempotency_key": 5}),
]
LIMITS = [
    Record("quantity_0", {"quantity": 0}),
    Record("quantity_1", {"quantity": 1}),
    Record("quantity_most", {"quantity": 10**15}),
    Record("quantity_beyond", {"quantity": 10**15 + 1}),
    Record("quantity_negative", {"quantity": -5}),
    Record("quantity_huge", {"quantity": 10**40}),
    Record("key_empty", {"idempotency_key": ""}),
    Record("key_longest", {"idempotency_key": LONG_NAME}),
    Record("key_too_long", {"idempotency_key": LONG_NAME + "k"}),
    Record("key_line_break", {"idempotency_key": "a\nb"}),
    Record("key_nul", {"idempotency_key": "a\0b"}),
    Record("key_other_script", {"idempotency_key": "ключ 𝔘"}),
    Record("month_fits", month_holds=10**18 - 5),
    Record("month_full", month_holds=10**18 - 4),
]
KEYS = [
    Record("repeated", earlier=({},)),
    Record(
        "repeated_in_other_words",
        {**at("2025-06-15T14:00:00.000+02:00"), **metadata({"a": 1, "b": "x"})},
        earlier=(metadata({"b": "x", "a": 1}),),
    ),
    Record("repeated_without_time", {"occurred_at": ABSENT}, earlier=({"occurred_at": ABSENT},)),
    Record("repeated_after_end", earlier=({},), is_deactivated=True),
    Record("conflict_quantity", {"quantity": 6}, earlier=({},)),
    Record("conflict_event", {"event": "vm_uptime"}, earlier=({},)),
    Record("conflict_unknown_event", {"event": "unheard_of"}, earlier=({},)),
    Record("conflict_metadata", metadata({"a": 1}), earlier=({},)),
    Record("conflict_time", {"occurred_at": ABSENT}, earlier=({},)),
    Record("misshapen_repeat", {"quantity": 5.5}, earlier=({},)),
]
INSTANTS = [
    Record("future_inside", {"occurred_at": Shift(270)}),
    Record("future_outside", {"occurred_at": Shift(330)}),
    Record("backfill_inside", {"occurred_at": Shift(60 - BACKFILL)}),
    Record("backfill_outside", {"occurred_at": Shift(-60 - BACKFILL)}),
    Record("offset", at("2025-06-15T17:30:00+05:30")),
    Record("nanoseconds", at("2025-06-15T12:00:00.123456789Z")),
    Record("small_letters", at("2025-06-15t12:00:00z")),
    Record("without_zone", at("2025-06-15T12:00:00")),
    Record("without_t", at("2025-06-15 12:00:00Z")),
    Record("time_number", {"occurred_at": 1750000000}),
    Record("no_such_day", at("2025-02-30T12:00:00Z")),
    Record("year_1999", at("1999-12-31T12:00:00Z")),
    Record("year_3000", at("3000-01-01T00:00:00Z")),
    # The billing time zone is Europe/Berlin: two hours ahead in summer, one in winter.
    Record("end_of_summer_day", at("2025-06-14T21:59:59Z")),
    Record("start_of_summer_day", at("2025-06-14T22:00:00Z")),
    Record("end_of_winter_day", at("2025-01-14T22:59:59Z")),
    Record("start_of_winter_day", at("2025-01-14T23:00:00Z")),
    Record("start_of_short_day", at("2025-03-29T23:00:00Z")),
    Record("end_of_short_day", at("2025-03-30T21:59:59Z")),
    Record("end_of_long_day", at("2025-10-26T22:59:59Z")),
    Record("start_after_long_day", at("2025-10-26T23:00:00Z")),
    Record("start_of_month", at("2025-03-31T22:00:00Z")),
]
METADATA = [
    Record("metadata_kinds", metadata({"text": "Zürich ✓", "n": -7, "part": 1.5, "on": True})),
    Record("metadata_empty", metadata({})),
    Record("metadata_text", metadata("region")),
    Record("metadata_list", metadata([1])),
    Record("metadata_too_big", metadata(BIG)),
    Record("metadata_nested", metadata({"a": {"b": 1}})),
    Record("metadata_null", metadata({"a": None})),
    Record("metadata_line_break", metadata({"a": "b\nc"})),
    Record("metadata_nul", metadata({"a": "b\0c"})),
    Record("metadata_half_pair", metadata({"a": "\ud800"})),
]
REFERENCES = [
    Record("user_unknown", {"user_id": 10**17}),
    Record("user_inactive", is_deactivated=True),
    Record("user_manager", {"user_id": Person.MANAGER}),
    Record("event_unknown", {"event": "unheard_of"}),
    Record("event_gone", {"event": GONE}, is_event_gone=True),
]
CREDENTIALS = [
    Record("key_revoked", credential="revoked"),
    Record("key_expired", credential="expired"),
    Record("key_narrowed", credential="narrowed"),
    Record("key_of_customer", credential="of a customer"),
    Record("sender_deactivated", credential="deactivated"),
    Record("sender_demoted", credential="demoted"),
    Record("budget_spent", credential="spent"),
]
RECORDS = [*SHAPES, *LIMITS, *KEYS, *INSTANTS, *METADATA, *REFERENCES, *CREDENTIALS]
BY_NAME = {record.name: record for record in RECORDS}
