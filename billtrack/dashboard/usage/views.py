"""Usage: the records with their filter, and recording one by hand."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from flask import abort, flash, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Breadth, Permission
from billtrack.accounts.users.queries import list_customers
from billtrack.core.errors import BilltrackError
from billtrack.core.periods import DateRange
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.fields import FIRST_DAY, LAST_DAY
from billtrack.dashboard.shared.forms import show_error
from billtrack.dashboard.shared.numbers import read_number
from billtrack.dashboard.shared.ranges import Asked, bars, by_month, charted_days, usage_presets
from billtrack.dashboard.usage.export import MAX_XLSX_ROWS, csv_answer, xlsx_answer
from billtrack.dashboard.usage.forms import RecordUsageForm, UsageFilterForm
from billtrack.platform.extensions import current_calendar, current_settings
from billtrack.platform.replica.reading import may_be_old
from billtrack.presentation.drawings import Drawing
from billtrack.presentation.filters import MeterView, base_unit, count, quantity, unit_suffix
from billtrack.presentation.statements import meter_views
from billtrack.presentation.usage import record_rows
from billtrack.usage.ingest import intake, schema
from billtrack.usage.ingest.decide import IdempotencyConflict
from billtrack.usage.records import queries
from billtrack.usage.records.meters import list_meters
from billtrack.usage.records.queries import RecordFilter, SummaryRow
from billtrack.usage.records.submissions import terms_of

PAGE_SIZE = 50
LIVE_FIELDS = ("user_id", "event", "quantity", "occurred_at")


@dashboard.get("/usage")
@access.require(Permission.USAGE_READ)
@may_be_old
def usage() -> ResponseReturnValue:
    """List records by customer, event and days, newest first."""
    may_record = access.principal().may(Permission.USAGE_RECORD)
    return _page(_record_form() if may_record else None)


@dashboard.get("/usage/export.<any(csv, xlsx):extension>")
@access.require(Permission.USAGE_READ)
@may_be_old
def export_usage(extension: str) -> ResponseReturnValue:
    """Send all records that the list would show with the same filter, as a file."""
    filters, args = _filters(), _arguments()
    if not filters.validate():
        return redirect(url_for("dashboard.usage", **args), code=303)
    answer = (csv_answer if extension == "csv" else xlsx_answer)(
        reach=access.reach(Permission.USAGE_READ),
        matching=_matching(filters),
        meters=meter_views(list_meters()),
    )
    if answer is None:
        text = f"More than {MAX_XLSX_ROWS:,} records match. Narrow the filter, or take CSV."
        flash(text, "warn")
        return redirect(url_for("dashboard.usage", **args), code=303)
    return answer


@dashboard.get("/usage/records/check/<name>")
@access.require(Permission.USAGE_RECORD)
def check_usage_field(name: str) -> ResponseReturnValue:
    """Return one field of the form to htmx, with what is wrong with what is typed in it."""
    if name not in LIVE_FIELDS:
        abort(404)
    form = _record_form(request.args)
    inline = getattr(type(form), f"validate_{name}", None)
    form[name].validate(form, [inline] if inline else [])
    return render_template("dashboard/usage/_record_field.html", form=form, name=name, **_place())


@dashboard.post("/usage/records")
@access.require(Permission.USAGE_RECORD)
def record_usage() -> ResponseReturnValue:
    """Record usage typed by hand; sending the same form twice records it once."""
    form = _record_form()
    if not form.validate_on_submit():
        return _page(form), 422
    try:
        item = schema.read(form.item())
        record, is_new = intake.submit_one(
            item, terms=terms_of(access.principal().user_id, datetime.now(UTC))
        )
    except IdempotencyConflict:
        # Back in the browser, other figures, sent again: that can well be meant.
        form.idempotency_key.data = _new_key()
        form.form_errors.append(
            "This form was recorded before with other content. Send it again to record this, too."
        )
        return _page(form), 422
    except BilltrackError as error:
        show_error(form, error)
        return _page(form), 422
    flash("The usage is recorded." if is_new else "This was recorded before.", "ok")
    shown = url_for("dashboard.usage", user_id=record.user_id, _anchor="content")
    return redirect(shown, code=303)


def _page(form: RecordUsageForm | None) -> str:
    who, reach = access.principal(), access.reach(Permission.USAGE_READ)
    filters, args = _filters(), _arguments()
    matching = _matching(filters) if filters.validate() else RecordFilter()
    before_id = read_number("cursor")
    records = queries.list_records(
        reach=reach,
        matching=matching,
        calendar=current_calendar(),
        before_id=before_id,
        limit=PAGE_SIZE + 1,
    )
    shown, more = records[:PAGE_SIZE], len(records) > PAGE_SIZE
    meters, today = meter_views(list_meters()), current_calendar().today(datetime.now(UTC))
    return render_template(
        "dashboard/usage/usage.html",
        filters=filters,
        args=args,
        presets=_presets(args, today),
        chart=_chart(matching, filters, meters, today),
        records=record_rows(shown, meters),
        next_cursor=str(shown[-1].id) if more else None,
        cursor=str(before_id) if before_id else None,
        link_customers=who.may(Permission.STATEMENTS_READ),
        form=form,
        show_customer_filter=reach.breadth is not Breadth.OWN,
        **_place(),
    )


def _filters() -> UsageFilterForm:
    sees_all = access.reach(Permission.USAGE_READ).breadth is not Breadth.OWN
    return UsageFilterForm(
        request.args if request.method == "GET" else None,
        customers=_customers() if sees_all else [],
        events=_events(),
    )


def _chart(
    matching: RecordFilter, filters: UsageFilterForm, meters: dict[str, MeterView], today: date
) -> dict[str, Any] | None:
    """Return what is filtered, by day or month: of one event how much, else how many records.

    None for who sees only what it recorded: the rollups do not know who did.
    """
    reach = access.reach(Permission.USAGE_READ)
    if reach.breadth is Breadth.RECORDED:
        return None
    first, last = (filters.first.data, filters.last.data) if matching.days else (None, None)
    asked = Asked(charted_days(first, last, today))
    rows = queries.summarize(
        reach=reach,
        matching=replace(matching, days=asked.days),
        calendar=current_calendar(),
        group_by="day",
    )
    drawing = _drawing(rows, asked, matching, meters)
    return {"drawing": drawing, "days": asked.days} if drawing else None


def _drawing(
    rows: list[SummaryRow], asked: Asked, matching: RecordFilter, meters: dict[str, MeterView]
) -> Drawing | None:
    one = meters[matching.event] if matching.event else None
    values: dict[str, dict[date, int]] = {}
    for row in rows:
        if row.day:
            values.setdefault(row.event, {})[row.day] = row.quantity if one else row.count
    what = one.name if one else "Records"
    every = "month" if asked.by_month else "day"
    return bars(
        asked,
        [
            (meter.name, meter.colour, by_month(found) if asked.by_month else found)
            for code, meter in meters.items()
            if (found := values.get(code))
        ],
        title=f"{what} by {every}{unit_suffix(one) if one else ''}",
        tell=partial(quantity, meter=one) if one else count,
        factor=one.factor if one else 1,
    )


def _presets(args: dict[str, Any], today: date) -> list[dict[str, Any]]:
    kept: dict[str, Any] = {name: args[name] for name in ("user_id", "event") if name in args}
    days = {name: args[name] for name in ("from", "to") if name in args}
    return [
        {
            "label": label,
            "href": url_for("dashboard.usage", **(kept | span)),
            "active": days == span,
        }
        for label, span in usage_presets(today)
    ]


def _record_form(typed: Mapping[str, Any] | None = None) -> RecordUsageForm:
    form = RecordUsageForm(
        *([] if typed is None else [typed]),
        customers=_customers(),
        events=_events(),
        zone=ZoneInfo(current_settings().timezone),
        user_id=request.args.get("user_id", ""),
    )
    if not form.idempotency_key.data:
        form.idempotency_key.data = _new_key()
    return form


def _place() -> dict[str, Any]:
    return {"timezone": current_settings().timezone}


def _new_key() -> str:
    return f"form-{secrets.token_urlsafe(16)}"


def _customers() -> list[tuple[int, str]]:
    return [(user.id, user.name) for user in list_customers()]


def _events() -> list[tuple[str, str]]:
    views = meter_views(list_meters()).values()
    return [(view.code, f"{view.name} ({base_unit(view)})") for view in views]


def _matching(filters: UsageFilterForm) -> RecordFilter:
    first, last = filters.first.data, filters.last.data
    days = DateRange(first or FIRST_DAY, last or LAST_DAY) if first or last else None
    user_id = int(filters.user_id.data) if filters.user_id.data else None
    return RecordFilter(user_id=user_id, event=filters.event.data or None, days=days)


def _arguments() -> dict[str, Any]:
    names = ("user_id", "event", "from", "to")
    return {name: request.args[name] for name in names if request.args.get(name)}
