"""Reading a batch of which every record is as it should be: most are, in a third of the time.

A model of each record and a function around it that tells what is wrong take longer than all
the rest. What is wrong here in any way is read again by the models, which say so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, NotRequired

from pydantic import ConfigDict, Field, TypeAdapter, with_config
from typing_extensions import TypedDict

from billtrack.api.v1.schemas import Body, EventCode, Id, Metadata, Quantity
from billtrack.usage.rules import UsageInput

MAX_RECORDS = 10_000

_INSTANT = (
    r"^2[0-9]{3}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
"""As `parse_instant` takes it, of the years 2000 to 2999."""


# To forbid unknown names would make an error of each of them: `read_plain` looks at all at once.
_CONFIG: ConfigDict = {**Body.model_config, "extra": "allow"}


# As `NewUsage` and `BatchIn`, but for what `read_plain` and `_input` do themselves.
@with_config(_CONFIG)
class _Record(TypedDict):
    quantity: Quantity
    event: EventCode
    user_id: Id
    idempotency_key: NotRequired[Annotated[str, Field(min_length=1, max_length=255)] | None]
    occurred_at: NotRequired[Annotated[str, Field(pattern=_INSTANT)] | None]
    metadata: NotRequired[Metadata | None]


@with_config(_CONFIG)
class _Batch(TypedDict):
    records: Annotated[list[_Record], Field(min_length=1, max_length=MAX_RECORDS, fail_fast=True)]


_NAMES = _Record.__required_keys__ | _Record.__optional_keys__
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
        batch = _BATCH.validate_json(body)
        return PlainBatch([_input(one) for one in batch["records"]]) if len(batch) == 1 else None
    except ValueError:
        return None


def place_of(index: int, field: str) -> str:
    """Name the place in the body of a batch that says this of a record."""
    return f"records.{index}.{field}".rstrip(".")


def _input(record: _Record) -> UsageInput:
    if not record.keys() <= _NAMES:
        raise ValueError(record)
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
