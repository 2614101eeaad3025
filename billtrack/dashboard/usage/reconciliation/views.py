"""Reconciliation: a sender's totals beside what is stored of it, and the differences as a file."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from flask import Response, render_template
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from flask_wtf.file import FileField
from wtforms import BooleanField, TextAreaField
from wtforms.validators import Optional

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.accounts.users.queries import users_by_id
from billtrack.core.errors import InvalidError
from billtrack.core.periods import DateRange
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.fields import ChoiceField, DayField
from billtrack.platform.extensions import current_calendar, current_settings
from billtrack.platform.limits import Budget
from billtrack.platform.request_head import MAX_BODY, accepts_body
from billtrack.presentation.filters import MeterView
from billtrack.presentation.statements import meter_views
from billtrack.presentation.tables import Column, Kind, Sheet, to_csv
from billtrack.usage.reconciliation.comparing import Comparison, Reconciliation, State, reconcile
from billtrack.usage.reconciliation.files import read_totals
from billtrack.usage.reconciliation.sources import list_sources
from billtrack.usage.records.meters import list_meters

MAX_SHOWN = 500
"""Lines that a page shows; the file has all of them."""
MAX_TEXT = 400_000
"""Characters that can be sent back in a field: ten thousand totals are fewer."""
WORDS = {
    State.EQUAL: ("Match", "ok"),
    State.MISSING_HERE: ("Missing", "bad"),
    State.MORE_HERE: ("Surplus", "warn"),
    State.ONLY_HERE: ("Not in your file", "warn"),
}
COLUMNS = (
    Column("Day", Kind.DATE),
    Column("Event"),
    Column("Customer id", Kind.INTEGER),
    Column("Sent", Kind.INTEGER),
    Column("Stored", Kind.INTEGER),
    Column("Difference", Kind.INTEGER),
    Column("State"),
)


class ReconciliationForm(FlaskForm):  # type: ignore[misc]
    """Whose totals of which days, as a file or typed."""

    account_id = ChoiceField("Source")
    first = DayField("From", [Optional()], name="from")
    last = DayField("To", [Optional()], name="to")
    file = FileField("CSV file")
    totals = TextAreaField("Totals")
    download = BooleanField()

    def days(self) -> DateRange | None:
        """Return the days that were asked for. Raises InvalidError."""
        if not self.first.data and not self.last.data:
            return None
        if not self.first.data or not self.last.data or self.last.data < self.first.data:
            raise InvalidError.at("to", "Write both days, the earlier one first; or none.")
        return DateRange(self.first.data, self.last.data)


@dashboard.get("/usage/reconciliation")
@access.require(Permission.JOURNAL_READ)
def reconciliation() -> ResponseReturnValue:
    """Ask for the totals of a source."""
    return _page(_form(), None)


@dashboard.post("/usage/reconciliation")
@access.require(Permission.JOURNAL_READ, budget=Budget.REPORTS)
@accepts_body(up_to=MAX_BODY)
def reconcile_usage() -> ResponseReturnValue:
    """Show what differs, or send it as a file; nothing is stored."""
    form = _form()
    if not form.validate_on_submit():
        return _page(form, None), 422
    try:
        found = _reconcile(form)
    except InvalidError as error:
        field = form.last if error.errors and error.errors[0].field == "to" else form.totals
        field.errors = [error.detail]
        return _page(form, None), 422
    return _file(found) if form.download.data else _page(form, found)


def _form() -> ReconciliationForm:
    reach = access.reach(Permission.JOURNAL_READ)
    form = ReconciliationForm(account_id=str(reach.user_id))
    form.account_id.choices = [(str(id_), name) for id_, name in list_sources(reach=reach)]
    return form


def _content(form: ReconciliationForm) -> bytes:
    """Return the file, or what was typed; a file is put into the field, to be sent again."""
    if not form.file.data:
        return (form.totals.data or "").strip().encode()
    content: bytes = form.file.data.read(MAX_TEXT + 1)
    if len(content) > MAX_TEXT:
        raise InvalidError(f"Send at most {MAX_TEXT // 1000} kB here, or use the API.")
    form.totals.data = content.decode("utf-8-sig", errors="replace")
    return content


def _reconcile(form: ReconciliationForm) -> Reconciliation:
    content = _content(form)
    return reconcile(
        read_totals(io.BytesIO(content)) if content.strip() else [],
        account_id=int(form.account_id.data),
        days=form.days(),
        calendar=current_calendar(),
    )


def _page(form: ReconciliationForm, found: Reconciliation | None) -> str:
    return render_template(
        "dashboard/usage/reconciliation.html",
        form=form,
        may_choose=len(form.account_id.choices) > 1,
        timezone=current_settings().timezone,
        events=[meter.code for meter in list_meters()],
        result=_result(found) if found else None,
    )


def _result(found: Reconciliation) -> dict[str, Any]:
    shown = found.lines[:MAX_SHOWN]
    # Only of whom it recorded something for: a number that was sent may be anybody's.
    known = users_by_id(sorted({line.user_id for line in shown if line.user_id and line.stored}))
    names = {user_id: user.name for user_id, user in known.items()}
    meters = meter_views(list_meters())
    return {
        "days": found.days,
        "counts": [(*WORDS[state], found.counts.get(state, 0)) for state in State],
        "has_users": any(line.user_id for line in shown),
        "lines": [_line(line, meters, names) for line in shown],
        "hidden": len(found.lines) - len(shown),
        "is_equal": not found.differences,
    }


def _line(
    line: Comparison, meters: Mapping[str, MeterView], names: Mapping[int, str]
) -> dict[str, Any]:
    word, badge = WORDS[line.state]
    return {
        "day": line.day,
        "meter": meters[line.event],
        "user": names.get(line.user_id, str(line.user_id)) if line.user_id else None,
        "sent": line.sent,
        "stored": line.stored,
        "difference": line.difference,
        "word": word,
        "badge": badge,
    }


def _file(found: Reconciliation) -> Response:
    rows = [
        [one.day, one.event, one.user_id, one.sent, one.stored, one.difference, WORDS[one.state][0]]
        for one in found.differences
    ]
    response = Response(to_csv(Sheet("Differences", COLUMNS, rows)), mimetype="text/csv")
    name = f"differences-{found.days.first}-to-{found.days.last}.csv"
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
