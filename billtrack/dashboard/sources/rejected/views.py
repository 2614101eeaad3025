"""Journal: records that were refused, the form that mends and replays them, all of one reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from flask import flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue
from flask_wtf import FlaskForm
from wtforms import Field, StringField, TextAreaField
from wtforms.validators import InputRequired, Length, Optional, ValidationError

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Breadth, Permission
from billtrack.accounts.users.queries import list_customers
from billtrack.core.errors import BilltrackError
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.fields import NO_QUANTITY, ChoiceField, QuantityField
from billtrack.dashboard.shared.forms import show_error
from billtrack.dashboard.shared.numbers import read_number
from billtrack.platform.extensions import current_settings
from billtrack.presentation.filters import base_unit
from billtrack.presentation.sources import refusal_words, rejected_row
from billtrack.presentation.statements import meter_views
from billtrack.usage.ingest.fields import parse_instant
from billtrack.usage.records.meters import list_meters
from billtrack.usage.replay import Replayer, is_key_open, key_of, replay, replay_alike
from billtrack.usage.sources.queries import list_sources
from billtrack.usage.sources.rejected import (
    RejectedFilter,
    RejectedView,
    get_rejected,
    known_codes,
    list_rejected,
)

PAGE_SIZE = 50
MOST_SOURCES = 200
MAX_TEXT = 4096
STATES = (("open", "Not replayed"), ("replayed", "Replayed"), ("", "All"))


class RejectedFilterForm(FlaskForm):  # type: ignore[misc]
    """Which refused records to list. It only reads, so it carries no token."""

    class Meta(FlaskForm.Meta):  # type: ignore[misc]
        """No CSRF token in addresses."""

        csrf = False

    source = ChoiceField("Source", default="")
    code = ChoiceField("Reason", default="")
    state = ChoiceField("State", default="open")


class ReplayForm(FlaskForm):  # type: ignore[misc]
    """A refused record to mend; `changes` are its fields as they are sent once more."""

    user_id = ChoiceField("Customer", [InputRequired("Choose a customer.")])
    event = ChoiceField("Event", [InputRequired("Choose an event.")])
    quantity = QuantityField("Quantity", [InputRequired(NO_QUANTITY)])
    occurred_at = StringField("When", [Optional(), Length(max=64)])
    metadata = TextAreaField("Metadata", [Optional(), Length(max=MAX_TEXT)])
    idempotency_key = StringField(
        "Idempotency key", [InputRequired("Write a key."), Length(max=255)]
    )

    def validate_occurred_at(self, field: Field) -> None:
        """Refuse what is no instant."""
        try:
            parse_instant(field.data)
        except ValueError as error:
            raise ValidationError(str(error)) from error

    def validate_metadata(self, field: Field) -> None:
        """Refuse what is no JSON object."""
        try:
            self.entries = json.loads(field.data)
        except ValueError:
            self.entries = None
        if not isinstance(self.entries, dict):
            raise ValidationError('Write a JSON object, such as {"region": "eu-west"}.')

    def changes(self) -> dict[str, Any]:
        """Return every field as it is sent; what is empty is left out."""
        return {
            "user_id": int(self.user_id.data),
            "event": self.event.data,
            "quantity": int(self.quantity.data or 0),
            "occurred_at": self.occurred_at.data or None,
            "metadata": self.entries if self.metadata.data else None,
            "idempotency_key": self.idempotency_key.data,
        }


@dashboard.get("/journal/rejected")
@access.require(Permission.JOURNAL_READ)
def rejected_records() -> ResponseReturnValue:
    """List refused records by source, reason and state, newest first."""
    reach = access.reach(Permission.JOURNAL_READ)
    form = RejectedFilterForm(request.args)
    sources = list_sources(reach=reach, now=datetime.now(UTC), limit=MOST_SOURCES)
    form.source.choices = [("", "All sources"), *((str(s.account_id), s.name) for s in sources)]
    codes = known_codes(reach=reach)
    form.code.choices = [("", "All reasons"), *((code, refusal_words(code)) for code in codes)]
    form.state.choices = list(STATES)
    matching = _matching(form) if form.validate() else RejectedFilter(is_open=True)
    before_id = read_number("cursor")
    found = list_rejected(reach=reach, matching=matching, before_id=before_id, limit=PAGE_SIZE + 1)
    shown = found[:PAGE_SIZE]
    used = ("source", "code", "state")
    return render_template(
        "dashboard/sources/rejected.html",
        form=form,
        rejected=[rejected_row(one) for one in shown],
        args={name: request.args[name] for name in used if name in request.args},
        next_cursor=shown[-1].id if len(found) > PAGE_SIZE else None,
        cursor=before_id,
        show_sources=reach.breadth is Breadth.ALL,
        timezone=current_settings().timezone,
    )


@dashboard.get("/journal/rejected/<id:rejected_id>")
@access.require(Permission.JOURNAL_READ)
def rejected_record(rejected_id: int) -> ResponseReturnValue:
    """Show one refused record, with the form that mends it."""
    found = get_rejected(rejected_id, reach=access.reach(Permission.JOURNAL_READ))
    return _page(found, _form(found))


@dashboard.post("/journal/rejected/<id:rejected_id>")
@access.require(Permission.JOURNAL_REPLAY)
def replay_rejected(rejected_id: int) -> ResponseReturnValue:
    """Send the record once more as it was mended; the same form again changes nothing."""
    found = get_rejected(rejected_id, reach=access.reach(Permission.JOURNAL_REPLAY))
    form = _form(found)
    if not form.validate_on_submit():
        return _page(found, form), 422
    try:
        record, is_new = replay(rejected_id, changes=form.changes(), by=_replayer())
    except BilltrackError as error:
        show_error(form, error)
        return _page(found, form), 422
    text = "The usage is recorded." if is_new else "This was recorded before."
    flash(f"{text} It is record {record.id}.", "ok")
    return redirect(url_for("dashboard.rejected_records"), code=303)


@dashboard.post("/journal/rejected/<id:rejected_id>/alike")
@access.require(Permission.JOURNAL_REPLAY)
def replay_all_alike(rejected_id: int) -> ResponseReturnValue:
    """Send all records of a source once more that were refused for the same reason."""
    stored, refused = replay_alike(rejected_id, by=_replayer())
    if stored:
        flash(f"{stored:,} record{'s' if stored != 1 else ''} recorded.", "ok")
    if refused:
        text = (
            f"{refused:,} not recorded: rejected again, or sent more than once without a key. "
            "Fix what the reasons name, or open the records one by one."
        )
        flash(text, "warn")
    if not stored and not refused:
        flash("Nothing was left to replay.", "ok")
    return redirect(url_for("dashboard.journal"), code=303)


def _page(found: RejectedView, form: ReplayForm) -> str:
    may_replay = access.principal().may(Permission.JOURNAL_REPLAY)
    return render_template(
        "dashboard/sources/rejected_record.html",
        one=rejected_row(found),
        item=json.dumps(found.item, indent=2, ensure_ascii=False),
        errors=found.errors,
        form=form if may_replay and found.record_id is None else None,
        is_key_open=is_key_open(found),
        timezone=current_settings().timezone,
    )


def _form(found: RejectedView) -> ReplayForm:
    sent = found.item if isinstance(found.item, Mapping) else {}
    metadata = sent.get("metadata")
    form = ReplayForm(
        user_id=str(sent.get("user_id", "")),
        event=str(sent.get("event", "")),
        quantity=sent.get("quantity"),
        occurred_at=sent.get("occurred_at"),
        metadata=json.dumps(metadata, ensure_ascii=False) if metadata else "",
        idempotency_key=key_of(found),
    )
    form.user_id.choices = [
        ("", "Choose a customer"),
        *((str(user.id), user.name) for user in list_customers()),
    ]
    form.event.choices = [
        ("", "Choose an event"),
        *(
            (view.code, f"{view.name} ({base_unit(view)})")
            for view in meter_views(list_meters()).values()
        ),
    ]
    return form


def _matching(form: RejectedFilterForm) -> RejectedFilter:
    state = form.state.data
    return RejectedFilter(
        account_id=int(form.source.data) if form.source.data else None,
        code=form.code.data or None,
        is_open=None if not state else state == "open",
    )


def _replayer() -> Replayer:
    return Replayer(
        reach=access.reach(Permission.JOURNAL_REPLAY),
        actor=access.actor(),
        now=datetime.now(UTC),
    )
