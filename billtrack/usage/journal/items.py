"""A refused item: as it was sent, small and without secrets; and what it says as a record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from billtrack.core.errors import FieldError, InvalidError
from billtrack.redaction import redact
from billtrack.usage.fields import parse_instant, require_plain, require_printable, require_small
from billtrack.usage.rules import MAX_QUANTITY
from billtrack.usage.submissions import UsageInput

MOST_BYTES = 8192
LONGEST_FIELD = 300
FIELDS = ("user_id", "event", "quantity", "occurred_at", "idempotency_key", "metadata")

_Text = Annotated[str, AfterValidator(require_printable)]


class _Record(BaseModel):
    """What an item has to be like to be a record, as the API says."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    user_id: Annotated[int, Field(ge=1, lt=10**18)]
    event: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
    quantity: Annotated[int, Field(ge=1, le=MAX_QUANTITY)]
    occurred_at: Annotated[datetime, BeforeValidator(parse_instant)] | None = None
    idempotency_key: Annotated[_Text, Field(min_length=1, max_length=255)] | None = None
    metadata: (
        Annotated[
            dict[_Text, Annotated[Any, AfterValidator(require_plain)]],
            AfterValidator(require_small),
        ]
        | None
    ) = None


def item_of(sent: UsageInput) -> dict[str, Any]:
    """Return a record that was understood as an item again; what was left out stays out."""
    values = {
        "user_id": sent.user_id,
        "event": sent.event,
        "quantity": sent.quantity,
        "occurred_at": _written(sent.occurred_at),
        "idempotency_key": sent.idempotency_key,
        "metadata": dict(sent.metadata) if sent.metadata else None,
    }
    return {name: value for name, value in values.items() if value is not None}


def kept_text(item: Any) -> tuple[str, bool]:
    """Return the item as JSON of at most 8 KiB, and whether that is all of it.

    Secrets are hidden. Of one that is larger the short fields of a record are kept.
    """
    hidden = redact(item)
    text = json.dumps(hidden)
    if len(text) <= MOST_BYTES:
        return text, hidden == item
    parts = hidden.items() if isinstance(hidden, dict) else ()
    short = {
        name: value
        for name, value in parts
        if name in FIELDS and len(json.dumps(value)) <= LONGEST_FIELD
    }
    return json.dumps(short), False


def read_item(item: Any, *, origin: str | None) -> UsageInput:
    """Return the record that the item says; raises InvalidError naming each field."""
    try:
        record = _Record.model_validate(item)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        errors = [FieldError(".".join(map(str, one["loc"][:1])), one["msg"]) for one in found]
        text = f"{errors[0].field}: {errors[0].detail}"
        raise InvalidError(text.removeprefix(": "), errors=errors) from error
    return UsageInput(**{**record.model_dump(), "origin": origin})


def named_user(item: Any) -> int | None:
    """Return the number of the user that the item names, whether or not there is one."""
    found = item.get("user_id") if isinstance(item, Mapping) else None
    if not isinstance(found, int) or isinstance(found, bool):
        return None
    return found if 0 < found < 10**18 else None


def usable_key(item: Any) -> str | None:
    """Return the idempotency key of the item where it is one."""
    found = item.get("idempotency_key") if isinstance(item, Mapping) else None
    is_key = isinstance(found, str) and 0 < len(found) <= 255 and found.isprintable()  # noqa: PLR2004
    return found if is_key and redact(found) == found else None


def _written(instant: datetime | None) -> str | None:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z") if instant else None
