"""Settings: the audit log, for administrators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from flask import request
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import StringField
from wtforms.validators import Length, Optional

from billtrack.accounts import access
from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Permission
from billtrack.accounts.users.queries import find_ids_by_email, users_by_id
from billtrack.core.periods import DateRange
from billtrack.dashboard.settings.views import render_section
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.fields import FIRST_DAY, LAST_DAY, ChoiceField, DayField
from billtrack.dashboard.shared.forms import validate_range
from billtrack.dashboard.shared.numbers import read_number
from billtrack.platform.audit.queries import EntryFilter, EntryView, known_actions, list_entries
from billtrack.platform.extensions import current_calendar

PAGE_SIZE = 50
LONGEST_WORD = 64
NOBODY = -1
"""No account has this id: an address that nobody has finds nothing."""


class AuditFilterForm(FlaskForm):  # type: ignore[misc]
    """Which entries to list. It only reads, so it carries no token."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        """No CSRF token in addresses."""

        csrf = False

    who = StringField("Done by (e-mail)", [Optional(), Length(max=254)])
    action = ChoiceField("Action", default="")
    first = DayField("From", [Optional()], name="from")
    last = DayField("To", [Optional()], name="to")

    def __init__(self, *args: Any, actions: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.action.choices = [("", "All actions"), *((name, words(name)) for name in actions)]

    def validate(self, extra_validators: Any = None) -> bool:
        """Check each field, then that the days are in order."""
        return bool(super().validate(extra_validators)) and validate_range(self.first, self.last)


@dashboard.get("/settings/audit")
@access.require(Permission.AUDIT_READ)
def audit_log() -> ResponseReturnValue:
    """List what was done, by whom and to what, the newest first."""
    form = AuditFilterForm(request.args, actions=known_actions())
    matching = _matching(form) if form.validate() else EntryFilter()
    before_id = read_number("cursor")
    entries = list_entries(matching=matching, before_id=before_id, limit=PAGE_SIZE + 1)
    shown, more = entries[:PAGE_SIZE], len(entries) > PAGE_SIZE
    people = users_by_id([e.actor_user_id for e in shown if e.actor_user_id is not None])
    used = ("who", "action", "from", "to", "object", "number")
    return render_section(
        "audit",
        "dashboard.audit_log",
        form=form,
        entries=[entry_view(entry, people) for entry in shown],
        args={name: request.args[name] for name in used if request.args.get(name)},
        next_cursor=shown[-1].id if more else None,
        cursor=before_id,
    )


def words(name: str) -> str:
    """Return the name of an action or an object in words."""
    return name.replace(".", " ").replace("_", " ").capitalize()


def entry_view(entry: EntryView, people: Mapping[int, User]) -> dict[str, Any]:
    """Return the entry as the template takes it; `details` are (field, before, after, erased)."""
    person = people.get(entry.actor_user_id or 0)
    if person is not None and person.created_at > entry.at:
        person = None  # SQLite gives the number of an account that was removed to another one
    return {
        "id": entry.id,
        "at": entry.at,
        "who": person.name if person else _somebody(entry),
        "email": person.email if person else "",
        "key_id": entry.actor_api_key_id,
        "action": words(entry.action),
        "object": words(entry.object_type),
        "object_type": entry.object_type,
        "object_id": entry.object_id,
        "details": [one for one in _details(entry) if any(one[1:])],
        "request_id": entry.request_id,
    }


def _somebody(entry: EntryView) -> str:
    """Name who has no account, or has none any more."""
    if entry.actor_user_id is not None:
        return f"Account {entry.actor_user_id}"
    return "Nobody signed in" if "address" in entry.personal else "billtrack"


def _details(entry: EntryView) -> Iterator[tuple[str, str, str, bool]]:
    for field, value in entry.changes.items():
        before, after = _both(value)
        yield words(field), _text(before), _text(after), False
    for field, personal in entry.personal.items():
        before, after = personal.before, personal.value
        yield words(field), _text(before), _text(after), personal.is_erased


def _both(value: Any) -> tuple[Any, Any]:
    if isinstance(value, dict) and set(value) == {"before", "after"}:
        return value["before"], value["after"]
    return None, value


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _matching(form: AuditFilterForm) -> EntryFilter:
    who = (form.who.data or "").strip().lower()
    days = DateRange(form.first.data or FIRST_DAY, form.last.data or LAST_DAY)
    starts_at, ends_at = current_calendar().period_of(days)
    kind = request.args.get("object", "")
    return EntryFilter(
        actor_user_id=find_ids_by_email([who]).get(who, NOBODY) if who else None,
        action=form.action.data or None,
        object_type=kind if kind.isprintable() and 0 < len(kind) <= LONGEST_WORD else None,
        object_id=read_number("number"),
        starts_at=starts_at if form.first.data else None,
        ends_at=ends_at if form.last.data else None,
    )
