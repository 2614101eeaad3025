"""What may be typed about accounts."""

from __future__ import annotations

from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, StringField
from wtforms.fields import EmailField
from wtforms.validators import DataRequired, InputRequired, Length, ValidationError

from billtrack.accounts.operations import MAX_NAME_LENGTH
from billtrack.dashboard.fields import ChoiceField
from billtrack.dashboard.forms import MAX_EMAIL_LENGTH, TOO_LONG


def _stripped(text: str | None) -> str | None:
    return text.strip() if text else text


def _printable(_form: FlaskForm, field: StringField) -> None:
    if field.data and not field.data.isprintable():
        raise ValidationError("Use printable characters only.")


class AccountDetailsForm(FlaskForm):  # type: ignore[misc]
    """Name, address and role of an account."""

    name = StringField(
        "Name",
        [
            DataRequired("Write a name."),
            Length(max=MAX_NAME_LENGTH, message=TOO_LONG),
            _printable,
        ],
        filters=[_stripped],
    )
    email = EmailField(
        "E-mail",
        [
            InputRequired("Write an e-mail address."),
            Length(max=MAX_EMAIL_LENGTH, message=TOO_LONG),
            _printable,
        ],
        filters=[_stripped],
    )
    role = ChoiceField("Role", [InputRequired("Choose a role.")])

    def __init__(self, *args: Any, roles: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.role.choices = roles


class NewAccountForm(AccountDetailsForm):
    """An account to open, and whether its owner gets a letter."""

    invite = BooleanField("Send an invitation to this address")
