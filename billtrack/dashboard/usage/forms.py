"""Forms of the usage pages: filter records, record usage."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from flask_wtf import FlaskForm
from wtforms import Field, HiddenField
from wtforms.validators import InputRequired, Length, Optional, ValidationError

from billtrack.dashboard.shared.fields import (
    NO_QUANTITY,
    ChoiceField,
    LocalTimeField,
    QuantityField,
    printable,
)
from billtrack.dashboard.shared.forms import AGAIN, MAX_KEY_LENGTH, day_field, validate_range


class RecordUsageForm(FlaskForm):  # type: ignore[misc]
    """One usage record, typed by hand.

    `occurred_at` is read in the billing time zone; `instant` is the same in UTC, or None
    for the time of receipt.
    """

    user_id = ChoiceField("Customer", [InputRequired("Choose a customer.")])
    event = ChoiceField("Event", [InputRequired("Choose an event.")])
    quantity = QuantityField("Quantity", [InputRequired(NO_QUANTITY)])
    occurred_at = LocalTimeField(
        "When",
        [Optional()],
        format=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
    )
    idempotency_key = HiddenField(
        validators=[
            InputRequired(AGAIN),
            Length(max=MAX_KEY_LENGTH, message=AGAIN),
            printable,
        ]
    )

    def __init__(
        self,
        *args: Any,
        customers: list[tuple[int, str]],
        events: list[tuple[str, str]],
        zone: ZoneInfo,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.zone = zone
        self.instant: datetime | None = None
        self.user_id.choices = [
            ("", "Choose a customer"),
            *((str(user_id), name) for user_id, name in customers),
        ]
        self.event.choices = [("", "Choose an event"), *events]

    def item(self) -> Mapping[str, Any]:
        """Return what was typed as a usage record; call it once valid."""
        return {
            "user_id": int(self.user_id.data),
            "event": self.event.data,
            "quantity": self.quantity.data,
            "occurred_at": self.instant.isoformat() if self.instant else None,
            "idempotency_key": self.idempotency_key.data,
        }

    def validate_occurred_at(self, field: Field) -> None:
        """Reject a time of day that the change to summer time skips."""
        if field.data is None:  # not read as a time; that is told already
            return
        local = field.data.replace(tzinfo=self.zone)
        instant = local.astimezone(UTC)
        if instant.astimezone(self.zone).replace(tzinfo=None) != field.data:
            raise ValidationError(f"This time does not exist in {self.zone.key}: clocks skip it.")
        self.instant = instant


class UsageFilterForm(FlaskForm):  # type: ignore[misc]
    """Which usage to list. It only reads, so it carries no token; `days` checks the range."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        """No CSRF token in addresses."""

        csrf = False

    # The form beside it has fields of the same names.
    user_id = ChoiceField("Customer", id="filter-user", default="")
    event = ChoiceField("Event", id="filter-event", default="")
    first = day_field("From", "from")
    last = day_field("To", "to")

    def __init__(
        self,
        *args: Any,
        customers: list[tuple[int, str]],
        events: list[tuple[str, str]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.user_id.choices = [("", "All customers"), *((str(n), name) for n, name in customers)]
        self.event.choices = [("", "All events"), *events]

    def validate(self, extra_validators: Any = None) -> bool:
        """Check each field, then that the days are in order."""
        return bool(super().validate(extra_validators)) and validate_range(self.first, self.last)
