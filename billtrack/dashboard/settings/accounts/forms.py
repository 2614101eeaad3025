"""What may be typed about accounts."""

from __future__ import annotations

from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField, StringField
from wtforms.validators import InputRequired, ValidationError

from billtrack.dashboard.shared.fields import ChoiceField, email_field, name_field, stripped


class AccountDetailsForm(FlaskForm):  # type: ignore[misc]
    """Name, address and role of an account."""

    name = name_field("Write a name.")
    email = email_field("Write an e-mail address.")
    role = ChoiceField("Role", [InputRequired("Choose a role.")])

    def __init__(self, *args: Any, roles: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.role.choices = roles


class ErasureForm(FlaskForm):  # type: ignore[misc]
    """The address of an account, typed once more before it is erased."""

    email = StringField("E-mail address of the account", filters=[stripped])

    def __init__(self, *args: Any, expected: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._expected = expected

    def validate_email(self, field: StringField) -> None:
        """Refuse any other address: too much is lost if the wrong account is meant."""
        if (field.data or "").lower() != self._expected:
            raise ValidationError("This is not the address of the account. Nothing is erased.")


class NewAccountForm(AccountDetailsForm):
    """An account to open, and whether its owner gets a letter."""

    invite = BooleanField("Send an invitation to this address")
