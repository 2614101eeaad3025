"""What may be typed on the pages: strict, bounded, and telling when it is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo

from flask_wtf import FlaskForm
from wtforms import Field, HiddenField, PasswordField, StringField
from wtforms.validators import (
    EqualTo,
    InputRequired,
    Length,
    Optional,
    Regexp,
    ValidationError,
)

from billtrack.accounts.users.passwords import MAX_LENGTH, MIN_LENGTH
from billtrack.core.errors import BilltrackError, TooManyRequestsError
from billtrack.dashboard.fields import (
    NO_QUANTITY,
    TOO_LONG,
    ChoiceField,
    DayField,
    LocalTimeField,
    QuantityField,
    email_field,
    name_field,
    printable,
)

MAX_KEY_LENGTH = 255
MAX_CODE_LENGTH = 40
MAX_DAYS = 3660  # of a report; as in the API
CUSTOM_RANGE = ""  # the value of the month that means "a range of days"


def show_error(form: FlaskForm, error: BilltrackError) -> None:
    """Put what refused the form beside the field it names, or above all of them."""
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


def _day_field(label: str, name: str) -> DayField:
    return DayField(label, [Optional()], name=name)


class SignInForm(FlaskForm):  # type: ignore[misc]
    """E-mail and password; whether they are right is not its business."""

    email = email_field("Write your e-mail address.")
    password = PasswordField(
        "Password",
        [InputRequired("Write your password."), Length(max=MAX_LENGTH, message=TOO_LONG)],
    )


class CodeForm(FlaskForm):  # type: ignore[misc]
    """A code of the second factor, or a recovery code in its place."""

    code = StringField(
        "Code",
        [InputRequired("Write the code."), Length(max=MAX_CODE_LENGTH, message=TOO_LONG)],
    )


class ForgotPasswordForm(FlaskForm):  # type: ignore[misc]
    """The address of an account, if there is one: that is not said."""

    email = email_field("Write your e-mail address.")


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


class RecordUsageForm(FlaskForm):  # type: ignore[misc]
    """One usage record, typed by hand.

    `occurred_at` is read in the billing time zone; `instant` is the same in UTC, or None
    for the time of receipt.
    """

    user_id = ChoiceField("Customer", [InputRequired("Choose a customer.")])
    event = ChoiceField("Event", [InputRequired("Choose an event.")])
    quantity = QuantityField("Quantity", [InputRequired(NO_QUANTITY)])
    occurred_at = LocalTimeField(
        "When",
        [Optional()],
        format=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
    )
    idempotency_key = HiddenField(
        validators=[
            InputRequired("Load the page again."),
            Length(max=MAX_KEY_LENGTH, message="Load the page again."),
            printable,
        ]
    )

    def __init__(
        self,
        *args: Any,
        customers: list[tuple[int, str]],
        events: list[tuple[str, str]],
        zone: ZoneInfo,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.zone = zone
        self.instant: datetime | None = None
        self.user_id.choices = [
            ("", "Choose a customer"),
            *((str(user_id), name) for user_id, name in customers),
        ]
        self.event.choices = [("", "Choose an event"), *events]

    def item(self) -> Mapping[str, Any]:
        """Return what was typed as a usage record; call it once valid."""
        return {
            "user_id": int(self.user_id.data),
            "event": self.event.data,
            "quantity": self.quantity.data,
            "occurred_at": self.instant.isoformat() if self.instant else None,
            "idempotency_key": self.idempotency_key.data,
        }

    def validate_occurred_at(self, field: Field) -> None:
        """Refuse a time of day that the change to summer time skips."""
        if field.data is None:  # not read as a time; that is told already
            return
        local = field.data.replace(tzinfo=self.zone)
        instant = local.astimezone(UTC)
        if instant.astimezone(self.zone).replace(tzinfo=None) != field.data:
            raise ValidationError(f"This time does not exist in {self.zone.key}: clocks skip it.")
        self.instant = instant


def validate_range(first: Field, last: Field) -> bool:
    """Attach messages to a pair of inclusive dates; True if both are there and in order."""
    if first.errors or last.errors:
        return False
    if first.data and last.data and first.data > last.data:
        last.errors = ["Choose a day that is not before the first."]
    return not last.errors


class UsageFilterForm(FlaskForm):  # type: ignore[misc]
    """Which usage to list. It only reads, so it carries no token; `days` checks the range."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        """No CSRF token in addresses."""

        csrf = False

    # The form beside it has fields of the same names.
    user_id = ChoiceField("Customer", id="filter-user", default="")
    event = ChoiceField("Event", id="filter-event", default="")
    first = _day_field("From", "from")
    last = _day_field("To", "to")

    def __init__(
        self,
        *args: Any,
        customers: list[tuple[int, str]],
        events: list[tuple[str, str]],
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.user_id.choices = [("", "All customers"), *((str(n), name) for n, name in customers)]
        self.event.choices = [("", "All events"), *events]

    def validate(self, extra_validators: Any = None) -> bool:
        """Check each field, then that the days are in order."""
        return bool(super().validate(extra_validators)) and validate_range(self.first, self.last)


class GenerateReportForm(FlaskForm):  # type: ignore[misc]
    """Whose report, of which days, in which format. `days()` gives the inclusive dates."""

    customer = ChoiceField("Customer", [InputRequired("Choose a customer.")])
    month = ChoiceField("Period")
    first = _day_field("From", "from")
    last = _day_field("To", "to")
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
