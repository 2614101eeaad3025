"""Forms of API keys: create, rotate."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from flask_wtf import FlaskForm
from wtforms import HiddenField, SelectMultipleField, StringField
from wtforms.fields import EmailField
from wtforms.validators import DataRequired, InputRequired, Length, ValidationError
from wtforms.widgets import CheckboxInput, ListWidget

from billtrack.accounts.users.permissions import Permission
from billtrack.dashboard.shared.fields import (
    MAX_EMAIL_LENGTH,
    TOO_LONG,
    ChoiceField,
    printable,
    stripped,
)
from billtrack.dashboard.shared.forms import AGAIN, MAX_KEY_LENGTH
from billtrack.presentation.filters import day

MAX_KEY_NAME_LENGTH = 100
EXPIRIES = (("30", "30 days"), ("90", "90 days"), ("365", "A year"), ("", "Never"))
DEFAULT_EXPIRY = "365"
GRACES = (("0", "Not at all"), ("1", "An hour"), ("24", "A day"), ("168", "A week"))
DEFAULT_GRACE = "24"

SCOPES = {
    Permission.USAGE_RECORD: "Record usage",
    Permission.USAGE_REVERSE: "Reverse usage",
    Permission.USAGE_READ: "Read usage",
    Permission.JOURNAL_READ: "Read sources and rejected usage",
    Permission.JOURNAL_REPLAY: "Replay rejected usage",
    Permission.METERS_READ: "Read meters",
    Permission.STATEMENTS_READ: "Read statements",
    Permission.REPORTS_CREATE: "Generate reports",
    Permission.REPORTS_READ: "Read reports",
    Permission.PLANS_READ: "Read plans",
    Permission.SUBSCRIPTIONS_READ: "Read subscriptions",
    Permission.USERS_READ: "Read users",
    Permission.USERS_WRITE: "Create and change users",
    Permission.USERS_EXPORT: "Export personal data",
    Permission.USERS_ERASE: "Erase personal data",
    Permission.API_KEYS_READ: "List API keys",
    Permission.API_KEYS_WRITE: "Create, rotate and revoke API keys",
    Permission.JOBS_READ: "Follow jobs",
    Permission.JOBS_RETRY: "Retry jobs",
    Permission.QUOTE: "Ask for quotes",
    Permission.PROFILE: "Read the own profile",
    Permission.SETTINGS_READ: "Read settings",
    Permission.AUDIT_READ: "Read the audit log",
}
"""What an API key may do, in words."""


def scope_name(scope: str) -> str:
    """Say in words what the scope allows."""
    return next((name for known, name in SCOPES.items() if known == scope), scope)


class ScopesField(SelectMultipleField):  # type: ignore[misc]
    """Boxes to tick: what an API key may do."""

    widget = ListWidget(prefix_label=False)
    option_widget = CheckboxInput()

    def pre_validate(self, form: FlaskForm) -> None:
        """Refuse what was not offered, in our words."""
        try:
            super().pre_validate(form)
        except ValidationError as error:
            raise ValidationError("Choose among the boxes.") from error


class ApiKeyForm(FlaskForm):  # type: ignore[misc]
    """A key to make: for what, what it may do, and until when; `expires_at` tells the instant."""

    name = StringField(
        "Name",
        [
            DataRequired("Say what uses the key."),
            Length(max=MAX_KEY_NAME_LENGTH, message=TOO_LONG),
            printable,
        ],
        filters=[stripped],
    )
    scopes = ScopesField("Permissions", [InputRequired("Tick at least one.")])
    expires = ChoiceField("Expires", default=DEFAULT_EXPIRY)
    account = HiddenField()
    idempotency_key = HiddenField(
        validators=[InputRequired(AGAIN), Length(max=MAX_KEY_LENGTH, message=AGAIN), printable]
    )

    def __init__(
        self, *args: Any, scopes: Collection[Permission], now: datetime, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.now = now
        self.scopes.choices = [(str(one), SCOPES[one]) for one in Permission if one in scopes]
        self.expires.choices = [
            (days, f"{words} · {day(self._after(days).date())}" if days else words)
            for days, words in EXPIRIES
        ]

    @property
    def expires_at(self) -> datetime | None:
        """The instant from which the key is worthless, or None; call it once valid."""
        return self._after(self.expires.data) if self.expires.data else None

    def _after(self, days: str) -> datetime:
        return self.now + timedelta(days=int(days))


class RotateKeyForm(FlaskForm):  # type: ignore[misc]
    """How long a key works on beside its successor; `grace` tells it, once valid."""

    hours = ChoiceField("The old key works for", default=DEFAULT_GRACE)
    idempotency_key = HiddenField(
        validators=[InputRequired(AGAIN), Length(max=MAX_KEY_LENGTH, message=AGAIN), printable]
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hours.choices = list(GRACES)

    @property
    def grace(self) -> timedelta:
        """How long both keys work."""
        return timedelta(hours=int(self.hours.data))


class AccountForm(FlaskForm):  # type: ignore[misc]
    """Whose key to make, by e-mail. It only reads, so it carries no token."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        """No CSRF token in addresses."""

        csrf = False

    account = EmailField(
        "E-mail",
        [Length(max=MAX_EMAIL_LENGTH, message=TOO_LONG), printable],
        filters=[stripped],
        id="choose-account",
    )
