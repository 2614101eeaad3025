"""Parts that forms of several areas share, and the display of errors beside their fields."""

from __future__ import annotations

from http import HTTPStatus

from flask_wtf import FlaskForm
from wtforms import Field, PasswordField, StringField
from wtforms.validators import EqualTo, InputRequired, Length, Optional

from billtrack.accounts.users.passwords import MAX_LENGTH, MIN_LENGTH
from billtrack.core.errors import BilltrackError, TooManyRequestsError
from billtrack.dashboard.shared.fields import TOO_LONG, DayField

MAX_KEY_LENGTH = 255
MAX_CODE_LENGTH = 40
MAX_DAYS = 3660  # of a report; as in the API
AGAIN = "Load the page again."


def show_error(form: FlaskForm, error: BilltrackError) -> None:
    """Show an error beside the field that it names, or above the form if it names none."""
    names = [one.field.partition(".")[0] for one in error.errors]
    fields = [form[name] for name in names if name in form]
    for field in fields:
        field.errors = [error.detail]
    if not fields:
        form.form_errors.append(error.detail)


def show_refusal(form: FlaskForm, error: BilltrackError) -> tuple[int, dict[str, str]]:
    """Put the error into the form; return the status and the headers of its page."""
    show_error(form, error)
    if isinstance(error, TooManyRequestsError):
        return HTTPStatus.TOO_MANY_REQUESTS, {"Retry-After": str(error.retry_after)}
    return HTTPStatus.UNPROCESSABLE_ENTITY, {}


def day_field(label: str, name: str) -> DayField:
    """Return an optional field for a day."""
    return DayField(label, [Optional()], name=name)


class CodeForm(FlaskForm):  # type: ignore[misc]
    """A two-factor code or a recovery code."""

    code = StringField(
        "Code",
        [InputRequired("Write the code."), Length(max=MAX_CODE_LENGTH, message=TOO_LONG)],
    )


def validate_range(first: Field, last: Field) -> bool:
    """Check a pair of inclusive dates and attach messages; return whether they are valid."""
    if first.errors or last.errors:
        return False
    if first.data and last.data and first.data > last.data:
        last.errors = ["Choose a day that is not before the first."]
    return not last.errors


class NewPasswordForm(FlaskForm):  # type: ignore[misc]
    """A password, twice."""

    password = PasswordField(
        "New password",
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
        "New password again",
        [
            InputRequired("Write the password a second time."),
            EqualTo("password", "The two passwords differ. Write them again."),
        ],
    )
