"""The form that requests reports."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from flask_wtf import FlaskForm
from wtforms.validators import InputRequired

from billtrack.dashboard.shared.fields import ChoiceField
from billtrack.dashboard.shared.forms import MAX_DAYS, day_field, validate_range

CUSTOM_RANGE = ""  # the value of the month that means "a range of days"


class GenerateReportForm(FlaskForm):  # type: ignore[misc]
    """Whose report, of which days, in which format. `days()` gives the inclusive dates."""

    customer = ChoiceField("Customer", [InputRequired("Choose a customer.")])
    month = ChoiceField("Period")
    first = day_field("From", "from")
    last = day_field("To", "to")
    format = ChoiceField("Format", [InputRequired("Choose a format.")])

    def __init__(
        self,
        *args: Any,
        customers: list[tuple[str, str]],
        months: list[tuple[str, str]],
        formats: list[tuple[str, str]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.customer.choices = customers
        self.month.choices = [*months, (CUSTOM_RANGE, "A range of days")]
        self.format.choices = formats

    def validate(self, extra_validators: Any = None) -> bool:
        """Check each field, then that a range is whole, in order, and meant."""
        if not super().validate(extra_validators):
            return False
        for field in (self.first, self.last):
            if self.month.data == CUSTOM_RANGE and not field.data:
                field.errors = ["Choose a day."]
            if self.month.data != CUSTOM_RANGE and field.data:
                field.errors = ["Choose “A range of days” as the period, or clear this day."]
        if not validate_range(self.first, self.last):
            return False
        first, last = self.days()
        if (last - first).days >= MAX_DAYS:
            self.last.errors = [f"Choose at most {MAX_DAYS:,} days."]
        return not self.last.errors

    def days(self) -> tuple[date, date]:
        """Return the first and last day asked for, both inclusive; call it once valid."""
        if self.month.data == CUSTOM_RANGE:
            return self.first.data, self.last.data
        first = datetime.strptime(f"{self.month.data}-01", "%Y-%m-%d").replace(tzinfo=UTC).date()
        return first, (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
