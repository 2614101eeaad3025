"""Known differences from the contract: the outcome today, the outcome due, and the reason.

The cell is tested for the outcome today. It turns red once the product is right: then remove the
entry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.conformance.outcomes import MISSHAPEN, OUTCOMES, STORED, Outcome


@dataclass(frozen=True)
class Known:
    """Outcome of a record by the contract and today, and the reason."""

    reason: str
    contract: Outcome
    today: Outcome


SPELLED_NUMBER = Known(
    "in an event a whole number may be written 5.0 or as a text; it is refused today",
    contract=STORED,
    today=MISSHAPEN,
)
NESTED_DATA = Known(
    "nested or null data of an event is left out of its metadata; it is refused today",
    contract=STORED,
    today=MISSHAPEN,
)
UNREAD_BATCH = Known(
    "what cannot be read of a batch is its item's rejection; it refuses the batch today",
    contract=MISSHAPEN,
    today=OUTCOMES["metadata_half_pair"],
)

_BATCH_WAYS = (
    "batch of one",
    "batch, plain reader",
    "batch, models",
    "batch, all or nothing",
    "large batch",
    "CloudEvents",
    "Python client",
)

KNOWN: Mapping[tuple[str, str], Known] = {
    **{(way, "metadata_half_pair"): UNREAD_BATCH for way in _BATCH_WAYS},
    ("CloudEvents", "quantity_float"): SPELLED_NUMBER,
    ("CloudEvents", "quantity_text"): SPELLED_NUMBER,
    ("CloudEvents", "metadata_nested"): NESTED_DATA,
    ("CloudEvents", "metadata_null"): NESTED_DATA,
}
"""By way in and record."""
