"""The schema of a usage record, by which every way in reads it.

CloudEvents, lines of CSV files and forms are brought into this shape first.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, NotRequired

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    model_validator,
    with_config,
)
from typing_extensions import TypedDict

from billtrack.core.errors import InvalidError
from billtrack.platform.error_responses import field_errors
from billtrack.usage.ingest.fields import EventCode, Id, Instant, Metadata, Quantity, UsageKey
from billtrack.usage.records.submissions import UsageInput

MAX_RECORDS = 10_000
"""Records of a batch at most."""

MAX_UNKNOWN = 50
"""Names beside those of the schema, before nothing more is looked at: each would be an error."""

SAMPLE_RECORD: dict[str, JsonValue] = {
    "user_id": 1,
    "event": "api_calls",
    "quantity": 500000,
    "idempotency_key": "gateway-7/2026-10-05T14",
}


class Shape(BaseModel):
    """A JSON object: nothing is converted, nothing unknown is accepted."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _few_names(cls, value: Any) -> Any:
        return require_few_names(value, at_most=len(cls.model_fields) + MAX_UNKNOWN)


class NewUsage(Shape):
    """What was used. The quantity is an integer in the base unit of the meter."""

    model_config = ConfigDict(json_schema_extra={"examples": [SAMPLE_RECORD]})

    quantity: Quantity
    event: EventCode
    user_id: Id
    idempotency_key: UsageKey | None = None
    occurred_at: Instant | None = None
    metadata: Metadata | None = None

    def to_input(self, *, origin: str | None = None) -> UsageInput:
        """Return the record as it is decided on; `origin` is the CloudEvents source."""
        return UsageInput(
            user_id=self.user_id,
            event=self.event,
            quantity=self.quantity,
            occurred_at=self.occurred_at,
            idempotency_key=self.idempotency_key,
            metadata=self.metadata,
            origin=origin,
        )


def read(item: Any, *, origin: str | None = None) -> UsageInput:
    """Return the record that an item says; raises InvalidError naming each field."""
    try:
        return NewUsage.model_validate(item).to_input(origin=origin)
    except ValidationError as error:
        raise invalid_record(error) from error


def read_json(body: bytes) -> UsageInput | None:
    """Return the record that a body says; None if anything is wrong with it."""
    try:
        return NewUsage.model_validate_json(body).to_input()
    except ValidationError:
        return None


def invalid_record(error: ValidationError) -> InvalidError:
    """Return what is wrong with a record, in words for whoever sent it."""
    errors = field_errors(error)
    first = errors[0]
    return InvalidError(f"{first.field}: {first.detail}", errors=errors)


def require_few_names(value: Any, *, at_most: int) -> Any:
    """Return the value; raises ValueError for an object of more names than can be right."""
    if isinstance(value, dict) and len(value) > at_most:
        raise ValueError(f"Send at most {at_most} names here, not {len(value)}.")
    return value


# Most batches hold nothing but good records. These types read them in a third of the time that
# NewUsage takes, and `read_batch` checks what they leave out. A test compares both.

_INSTANT = (
    r"^2[0-9]{3}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})$"
)
"""As `parse_instant` takes it, of the years 2000 to 2999."""

# To forbid unknown names would make an error of each of them: `read_batch` looks at all at once.
_CONFIG: ConfigDict = {**Shape.model_config, "extra": "allow"}


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


def read_batch(body: bytes) -> Sequence[UsageInput] | None:
    """Return the records of a batch; None if anything is wrong with any of them."""
    try:
        batch = _BATCH.validate_json(body)
        return [_to_input(one) for one in batch["records"]] if len(batch) == 1 else None
    except ValueError:
        return None


def _to_input(record: _Record) -> UsageInput:
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
