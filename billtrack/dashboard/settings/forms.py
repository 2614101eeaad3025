"""Forms of the profile and of two-factor authentication."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import PasswordField
from wtforms.validators import InputRequired, Length

from billtrack.accounts.users.passwords import MAX_LENGTH
from billtrack.dashboard.shared.fields import TOO_LONG, email_field, name_field
from billtrack.dashboard.shared.forms import CodeForm, NewPasswordForm


class ProfileForm(FlaskForm):  # type: ignore[misc]
    """Name and e-mail address of the account."""

    name = name_field("Write your name.")
    email = email_field("Write an e-mail address.")


class CurrentPasswordForm(FlaskForm):  # type: ignore[misc]
    """The current password."""

    current_password = PasswordField(
        "Current password",
        [
            InputRequired("Write your current password."),
            Length(max=MAX_LENGTH, message=TOO_LONG),
        ],
    )


class PasswordForm(NewPasswordForm, CurrentPasswordForm):
    """The current password, and a new one twice."""


class PasswordAndCodeForm(CurrentPasswordForm, CodeForm):
    """The current password, and a two-factor code."""
