"""CloudEvents 1.0 as another spelling of usage records."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from billtrack.usage.ingest.fields import (
    LONGEST_ORIGIN,
    MAX_METADATA,
    Instant,
    MetadataValue,
    PlainText,
    Quantity,
    UsageKey,
    require_small,
)
from billtrack.usage.ingest.schema import MAX_UNKNOWN, require_few_names
from billtrack.usage.records.submissions import UsageInput

MEDIA_TYPE = "application/cloudevents-batch+json"
SAMPLE_EVENT: dict[str, JsonValue] = {
    "specversion": "1.0",
    "id": "2026-10-05T14",
    "source": "https://gateway-7.example",
    "type": "com.example.api_calls",
    "subject": "1",
    "time": "2026-10-05T14:59:59Z",
    "data": {"quantity": 500000, "region": "eu-west"},
}
FIELDS = {
    "user_id": "subject",
    "event": "type",
    "occurred_at": "time",
    "quantity": "data.quantity",
}
"""Where an event says what a record does."""

_ATTRIBUTE = re.compile(r"[a-z0-9]+")
_SUBJECT = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


class EventData(BaseModel):
    """The quantity in the base unit of the meter; whatever else is there is metadata."""

    model_config = ConfigDict(strict=True, extra="allow", allow_inf_nan=False)
    __pydantic_extra__: dict[PlainText, MetadataValue]

    quantity: Quantity

    @model_validator(mode="before")
    @classmethod
    def _few_names(cls, value: Any) -> Any:
        return require_few_names(value, at_most=MAX_METADATA // 5)

    @model_validator(mode="after")
    def _small(self) -> Self:
        require_small(self.__pydantic_extra__)
        return self


class CloudEvent(BaseModel):
    """A usage record as an event. Extension attributes are allowed, and not kept.

    The key is unique within the account and the event's source. The event is what stands
    after the last dot of the type.
    """

    model_config = ConfigDict(
        strict=True,
        extra="allow",
        allow_inf_nan=False,
        json_schema_extra={"examples": [SAMPLE_EVENT]},
    )

    specversion: Literal["1.0"]
    id: Annotated[UsageKey, Field(description="The idempotency key")]
    source: Annotated[PlainText, Field(min_length=1, max_length=LONGEST_ORIGIN)]
    type: Annotated[
        str,
        Field(
            max_length=255,
            pattern=r"^([A-Za-z0-9_-]+\.)*[a-z][a-z0-9_]{0,63}$",
            description="The event, with names and dots before it if you like",
        ),
    ]
    subject: Annotated[
        str, Field(pattern=r"^[1-9][0-9]{0,17}$", description="The id of the user, as a text")
    ]
    time: Annotated[Instant | None, Field(description="occurred_at")] = None
    datacontenttype: (
        Annotated[str, Field(pattern=r"^application/([A-Za-z0-9.-]+\+)?json *(;.*)?$")] | None
    ) = None
    dataschema: str | None = None
    data: EventData

    @model_validator(mode="before")
    @classmethod
    def _few_names(cls, value: Any) -> Any:
        return require_few_names(value, at_most=len(cls.model_fields) + MAX_UNKNOWN)

    @model_validator(mode="after")
    def _named_as_attributes_are(self) -> Self:
        for name in self.__pydantic_extra__ or {}:
            if not _ATTRIBUTE.fullmatch(name):
                raise ValueError(f"{name[:64]!r} is no name of an attribute of an event.")
        return self

    def to_input(self) -> UsageInput:
        """Return the record as intake takes it."""
        return UsageInput(
            user_id=int(self.subject),
            event=self.type.rpartition(".")[2],
            quantity=self.data.quantity,
            occurred_at=self.time,
            idempotency_key=self.id,
            metadata=self.data.__pydantic_extra__ or None,
            origin=self.source,
        )


def to_item(event: Any) -> tuple[Any, str | None]:
    """Return a misshapen event as the record that it was to be, as far as it says, and its origin.

    What is no event at all stays as it is.
    """
    if not isinstance(event, dict):
        return event, None
    data = event.get("data")
    values = dict(data) if isinstance(data, dict) else {}
    subject, kind, origin = (event.get(name) for name in ("subject", "type", "source"))
    is_number = isinstance(subject, str) and _SUBJECT.fullmatch(subject)
    item = {
        "user_id": int(str(subject)) if is_number else subject,
        "event": kind.rpartition(".")[2] if isinstance(kind, str) else kind,
        "quantity": values.pop("quantity", None),
        "occurred_at": event.get("time"),
        "idempotency_key": event.get("id"),
        "metadata": values or None,
    }
    said = {name: value for name, value in item.items() if value is not None}
    if not isinstance(origin, str) or not origin.isprintable() or len(origin) > LONGEST_ORIGIN:
        return said, None
    return said, origin or None
