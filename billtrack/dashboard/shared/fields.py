"""Fields that refuse what browsers' own fields let through, and say so in our words."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from typing import Any

from wtforms import Field, Form, SelectField, StringField
from wtforms.fields import DateField, DateTimeLocalField, EmailField
from wtforms.validators import DataRequired, InputRequired, Length, ValidationError

from billtrack.accounts.users.operations import MAX_NAME_LENGTH
from billtrack.usage.ingest.fields import MAX_QUANTITY, YEARS

FIRST_DAY, LAST_DAY = date(YEARS[0], 1, 1), date(YEARS[-1], 12, 31)
MAX_EMAIL_LENGTH = 254
TOO_LONG = "Write at most %(max)d characters."
NO_QUANTITY = "Write how much was used."

_DIGITS = re.compile(r"[0-9]+", re.ASCII)


def stripped(text: str | None) -> str | None:
    """Return the text without the blanks around it."""
    return text.strip() if text else text


def printable(_form: Form, field: Field) -> None:
    """Refuse control characters; PostgreSQL cannot even compare with NUL."""
    if field.data and not field.data.isprintable():
        raise ValidationError("Use printable characters only.")


def name_field(missing: str) -> StringField:
    """Return a field for what an account is called; `missing` is said where it is empty."""
    length = Length(max=MAX_NAME_LENGTH, message=TOO_LONG)
    return StringField("Name", [DataRequired(missing), length, printable], filters=[stripped])


def email_field(missing: str, *more: Callable[..., Any]) -> EmailField:
    """Return a field for an e-mail address; `missing` is said where it is empty."""
    length = Length(max=MAX_EMAIL_LENGTH, message=TOO_LONG)
    checks = [InputRequired(missing), length, printable, *more]
    return EmailField("E-mail", checks, filters=[stripped])


class QuantityField(StringField):  # type: ignore[misc]
    """A whole number from 1 to 10^15, in plain digits; what was typed is kept."""

    def process_formdata(self, valuelist: list[str]) -> None:
        """Take digits only: no sign, separator, fraction or exponent."""
        typed = valuelist[0].strip() if valuelist else ""
        self.data = None
        if not typed:
            raise ValueError(NO_QUANTITY)
        if not _DIGITS.fullmatch(typed):
            raise ValueError("Write a whole number in digits only, such as 500000.")
        digits = typed.lstrip("0")
        if len(digits) > len(str(MAX_QUANTITY)) or not 1 <= int(digits or 0) <= MAX_QUANTITY:
            raise ValueError("Write a number from 1 to 1,000,000,000,000,000.")
        self.data = int(digits)

    def _value(self) -> str:
        return str(self.raw_data[0] if self.raw_data else self.data or "")


class DayField(DateField):  # type: ignore[misc]
    """A calendar date as the browser's date field sends it."""

    def process_formdata(self, valuelist: list[str]) -> None:
        """Take YYYY-MM-DD; say so otherwise."""
        try:
            super().process_formdata(valuelist)
        except ValueError as error:
            raise ValueError("Write a day that exists, such as 2026-11-22.") from error
        _require_year(self)


class LocalTimeField(DateTimeLocalField):  # type: ignore[misc]
    """A local time as the browser's field sends it, to the minute or the second."""

    def process_formdata(self, valuelist: list[str]) -> None:
        """Take YYYY-MM-DDTHH:MM; say so otherwise."""
        try:
            super().process_formdata(valuelist)
        except ValueError as error:
            raise ValueError("Write a day and a time, such as 2026-11-22T14:30.") from error
        _require_year(self)


class ChoiceField(SelectField):  # type: ignore[misc]
    """One of the choices offered."""

    def pre_validate(self, form: Form) -> None:
        """Refuse what was not offered, in our words."""
        try:
            super().pre_validate(form)
        except ValidationError as error:
            raise ValidationError("Choose one of the list.") from error


def _require_year(field: DayField | LocalTimeField) -> None:
    if field.data is not None and field.data.year not in YEARS:
        field.data = None
        raise ValueError(f"Write a year from {YEARS[0]} to {YEARS[-1]}.")
