"""Reading a batch of which every record is as it should be: most are, in a third of the time.

A model of each record and a function around it that tells what is wrong take longer than all
the rest. What is wrong here in any way is read again by the models, which say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, NotRequired

from pydantic import Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from billtrack.api.v1.schemas import Body, EventCode, Id, Metadata, Quantity
from billtrack.usage.rules import UsageInput

MAX_RECORDS = 10_000

_INSTANT = (
    r"^2[0-9]{3}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
"""As `parse_instant` takes it, of the years 2000 to 2999."""


# As `NewUsage` and `BatchIn`, but for what `_input` does itself.
@with_config(Body.model_config)
class _Record(TypedDict):
    quantity: Quantity
    event: EventCode
    user_id: Id
    idempotency_key: NotRequired[Annotated[str, Field(min_length=1, max_length=255)] | None]
    occurred_at: NotRequired[Annotated[str, Field(pattern=_INSTANT)] | None]
    metadata: NotRequired[Metadata | None]


@with_config(Body.model_config)
class _Batch(TypedDict):
    records: Annotated[list[_Record], Field(min_length=1, max_length=MAX_RECORDS)]


_BATCH = TypeAdapter(_Batch)


@dataclass(slots=True)
class PlainBatch:
    """A batch of nothing but records."""

    records: list[UsageInput]

    def sent(self) -> Sequence[UsageInput]:
        """Return each as intake takes it."""
        return self.records

    def place_of(self, index: int, field: str) -> str:
        """Name the place in the body that says this of a record."""
        return place_of(index, field)


def read_plain(body: bytes) -> PlainBatch | None:
    """Return what the body says; None if any of it is not as it should be."""
    try:
        return PlainBatch([_input(record) for record in _BATCH.validate_json(body)["records"]])
    except ValueError:
        return None


def place_of(index: int, field: str) -> str:
    """Name the place in the body of a batch that says this of a record."""
    return f"records.{index}.{field}".rstrip(".")


def _input(record: _Record) -> UsageInput:
    key, at = record.get("idempotency_key"), record.get("occurred_at")
    if key is not None and not key.isprintable():
        raise ValueError(key)
    return UsageInput(
        user_id=record["user_id"],
        event=record["event"],
        quantity=record["quantity"],
        occurred_at=datetime.fromisoformat(at.upper()).astimezone(UTC) if at else None,
        idempotency_key=key,
        metadata=record.get("metadata"),
    )
