"""What may be typed about accounts."""

from __future__ import annotations

from typing import Any

from flask_wtf import FlaskForm
from wtforms import BooleanField
from wtforms.validators import InputRequired

from billtrack.dashboard.fields import ChoiceField, email_field, name_field


class AccountDetailsForm(FlaskForm):  # type: ignore[misc]
    """Name, address and role of an account."""

    name = name_field("Write a name.")
    email = email_field("Write an e-mail address.")
    role = ChoiceField("Role", [InputRequired("Choose a role.")])

    def __init__(self, *args: Any, roles: list[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.role.choices = roles


class NewAccountForm(AccountDetailsForm):
    """An account to open, and whether its owner gets a letter."""

    invite = BooleanField("Send an invitation to this address")
