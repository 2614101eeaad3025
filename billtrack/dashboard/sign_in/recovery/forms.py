"""Forms of the password recovery."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import HiddenField
from wtforms.validators import Length

from billtrack.dashboard.shared.fields import email_field
from billtrack.dashboard.shared.forms import AGAIN, MAX_KEY_LENGTH, NewPasswordForm


class ForgotPasswordForm(FlaskForm):  # type: ignore[misc]
    """An e-mail address; the answer never tells whether it belongs to an account."""

    email = email_field("Write your e-mail address.")


class ChoosePasswordForm(NewPasswordForm):
    """A new password, authorized by `token`, the secret of a one-time link."""

    token = HiddenField(validators=[Length(max=MAX_KEY_LENGTH, message=AGAIN)])
