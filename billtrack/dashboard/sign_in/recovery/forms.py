"""Forms of the password recovery."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import HiddenField
from wtforms.validators import (
    Length,
)

from billtrack.dashboard.shared.fields import (
    email_field,
)
from billtrack.dashboard.shared.forms import AGAIN, MAX_KEY_LENGTH, NewPasswordForm


class ForgotPasswordForm(FlaskForm):  # type: ignore[misc]
    """The address of an account, if there is one: that is not said."""

    email = email_field("Write your e-mail address.")


class ChoosePasswordForm(NewPasswordForm):
    """A password for whoever comes with a one-time link; `token` is the secret in it."""

    token = HiddenField(validators=[Length(max=MAX_KEY_LENGTH, message=AGAIN)])
