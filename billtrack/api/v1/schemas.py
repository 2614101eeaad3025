"""Shapes that several resources share."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, ClassVar
from urllib.parse import urlencode

from flask import request
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from billtrack.core.errors import InvalidError
from billtrack.core.periods import DateRange, Month
from billtrack.platform.extensions import current_calendar
from billtrack.usage.ingest.fields import MAX_ID, YEARS, Id
from billtrack.usage.ingest.schema import Shape

MAX_DAYS = 3660

_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class Body(Shape):
    """A JSON body; `other_spellings` are what the same may be sent as, by media type."""

    other_spellings: ClassVar[Mapping[str, type[BaseModel]]] = {}


class Query(BaseModel):
    """Query parameters: text that is read as what it must be, nothing unknown."""

    model_config = ConfigDict(extra="forbid")


def _parse_date(value: Any) -> Any:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise ValueError("Write a date such as 2026-10-05.")
    day = date.fromisoformat(value)
    if day.year not in YEARS:
        raise ValueError("Write a year from 2000 to 2999.")
    return day


def _parse_month(value: str) -> str:
    if Month.parse(value).year not in YEARS:
        raise ValueError("Write a year from 2000 to 2999.")
    return value


def _parse_digits(value: str) -> str:
    if not _DIGITS.fullmatch(value):
        raise ValueError("Write a whole number in digits only.")
    return value


BillingDate = Annotated[date, BeforeValidator(_parse_date, json_schema_input_type=str)]
MonthText = Annotated[
    str, Field(pattern=r"^\d{4}-\d\d$", examples=["2026-10"]), AfterValidator(_parse_month)
]
QueryId = Annotated[Id, BeforeValidator(_parse_digits)]
Limit = Annotated[int, Field(ge=1, le=200), BeforeValidator(_parse_digits)]
Cursor = Annotated[str, Field(max_length=64, description="next_cursor of the answer before")]


def read_period(
    *, month: str | None, first: date | None, last: date | None, default: Month | None
) -> DateRange | None:
    """Return the inclusive days asked for by `month` or by `from` and `to`.

    Without any of them, the default month. Raises InvalidError naming the field.
    """
    if month is not None:
        if first is not None or last is not None:
            raise InvalidError.at("month", "Send either month, or from and to.")
        return Month.parse(month).dates
    if first is None and last is None:
        return default.dates if default else None
    if first is None or last is None:
        raise InvalidError.at("from" if first is None else "to", "Send from and to together.")
    if last < first:
        raise InvalidError.at("to", "The last day comes before the first.")
    if (last - first).days >= MAX_DAYS:
        raise InvalidError.at("to", f"Ask for at most {MAX_DAYS} days at once.")
    return DateRange(first, last)


def current_month(now: datetime) -> Month:
    """Return the billing month of this instant."""
    return Month.of(current_calendar().today(now))


def to_cursor(row_id: int) -> str:
    """Return the opaque cursor that leads on after the row."""
    return base64.urlsafe_b64encode(f"id:{row_id}".encode()).decode().rstrip("=")


def from_cursor(cursor: str | None) -> int | None:
    """Return the row that the cursor leads on after; raises InvalidError."""
    if cursor is None:
        return None
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError) as error:
        raise InvalidError.at("cursor", "Send next_cursor as it was given.") from error
    kind, _, number = text.partition(":")
    if kind != "id" or not number.isascii() or not number.isdigit() or int(number) > MAX_ID:
        raise InvalidError.at("cursor", "Send next_cursor as it was given.")
    return int(number)


def page(rows: list[dict[str, Any]], *, limit: int) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Return a list answer; `rows` holds up to limit + 1, the last of which is left for later."""
    shown, more = rows[:limit], len(rows) > limit
    cursor = to_cursor(shown[-1]["id"]) if more else None
    headers = {}
    if cursor:
        arguments = request.args.to_dict() | {"cursor": cursor}
        headers["Link"] = f'<{request.path}?{urlencode(arguments)}>; rel="next"'
    return {"data": shown, "next_cursor": cursor}, 200, headers
