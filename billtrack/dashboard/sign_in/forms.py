"""Forms of the sign-in and of the first administrator."""

from __future__ import annotations

from flask_wtf import FlaskForm
from wtforms import PasswordField
from wtforms.validators import EqualTo, InputRequired, Length, Regexp

from billtrack.accounts.users.passwords import MAX_LENGTH, MIN_LENGTH
from billtrack.dashboard.shared.fields import TOO_LONG, email_field, name_field


class SignInForm(FlaskForm):  # type: ignore[misc]
    """E-mail and password; only their form is checked here."""

    email = email_field("Write your e-mail address.")
    password = PasswordField(
        "Password",
        [InputRequired("Write your password."), Length(max=MAX_LENGTH, message=TOO_LONG)],
    )


class SetUpForm(FlaskForm):  # type: ignore[misc]
    """The first administrator."""

    name = name_field("Write your name.")
    email = email_field(
        "Write an e-mail address.",
        Regexp(r"[^@\s]+@[^@\s]+\Z", message="Write an e-mail address, such as ada@example.com."),
    )
    password = PasswordField(
        "Password",
        [
            InputRequired("Choose a password."),
            Length(
                min=MIN_LENGTH,
                max=MAX_LENGTH,
                message="Choose a password of %(min)d to %(max)d characters.",
            ),
        ],
    )
    password_again = PasswordField(
        "Password again",
        [
            InputRequired("Write the password a second time."),
            EqualTo("password", "The two passwords differ. Write them again."),
        ],
    )
