"""The fields of a usage record: their types, and the functions that check them.

The functions raise ValueError, the types are for schemas.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

MAX_ID = 10**18 - 1
MAX_QUANTITY = 10**15
MAX_METADATA = 2048
"""Bytes of all names and values together, as Python writes them."""
_SURROGATE = re.compile("[\ud800-\udfff]")

YEARS = range(2000, 3000)
LONGEST_ORIGIN = 255

_INSTANT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def parse_instant(value: Any) -> datetime:
    """Return the RFC 3339 instant in UTC; nanoseconds are left out."""
    if not isinstance(value, str) or not _INSTANT.fullmatch(value):
        raise ValueError("Write an instant with its zone, such as 2026-10-05T14:30:00Z.")
    instant = datetime.fromisoformat(value.upper())
    if instant.year not in YEARS:
        raise ValueError("Write a year from 2000 to 2999.")
    return instant.astimezone(UTC)


def require_printable(value: str) -> str:
    """Return the text; it holds no control character."""
    if not value.isprintable():
        raise ValueError("Use printable characters only.")
    return value


def require_plain(value: Any) -> Any:
    """Return the value of a metadata entry: a text without NUL, a finite number, true or false."""
    if isinstance(value, str):
        if "\0" in value or (not value.isprintable() and _SURROGATE.search(value)):
            raise ValueError("Leave out NUL and halves of surrogate pairs.")
        return value
    if not isinstance(value, bool | int | float) or (
        isinstance(value, float) and not isfinite(value)
    ):
        raise ValueError("Send a text, a number, true or false.")
    return value


def require_small(value: dict[str, Any]) -> dict[str, Any]:
    """Return the metadata, at most 2 KiB."""
    if len(repr(value).encode()) > MAX_METADATA:
        raise ValueError("Send at most 2 KiB.")
    return value


Instant = Annotated[datetime, BeforeValidator(parse_instant, json_schema_input_type=str)]
Id = Annotated[int, Field(ge=1, le=MAX_ID)]
EventCode = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$", examples=["api_calls"])]
PlainText = Annotated[str, AfterValidator(require_printable)]
Quantity = Annotated[int, Field(ge=1, le=MAX_QUANTITY, examples=[500000])]
UsageKey = Annotated[PlainText, Field(min_length=1, max_length=255)]
MetadataValue = Annotated[
    Any, AfterValidator(require_plain), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
Metadata = Annotated[
    dict[PlainText, MetadataValue], Field(fail_fast=True), AfterValidator(require_small)
]
