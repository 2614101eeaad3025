"""The overview: the month at a glance, narrowed to what the role may see."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from flask import Response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission, Role
from billtrack.billing.month_totals.queries import (
    FRESH_FOR,
    find_taken_at,
    get_overview,
    is_small,
    list_kept_months,
)
from billtrack.billing.statements.queries import Terms
from billtrack.core.periods import DateRange, Month
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.jobs import job_view
from billtrack.dashboard.shared.periods import MONTHS_OFFERED, read_month
from billtrack.dashboard.shared.silent_sources import silent_sources
from billtrack.documents.reports.queries import ReportView, list_reports
from billtrack.platform.extensions import current_calendar, current_settings
from billtrack.platform.installation.queries import has_demo_data
from billtrack.platform.replica.reading import may_be_old
from billtrack.presentation.filters import MeterView
from billtrack.presentation.filters import month as month_name
from billtrack.presentation.overview import (
    forecast_rows,
    overview_charts,
    ranking_rows,
    revenue_rows,
)
from billtrack.presentation.statements import meter_views
from billtrack.presentation.usage import record_rows
from billtrack.usage.records import queries as usage
from billtrack.usage.records.meters import list_meters
from billtrack.usage.records.queries import RecordFilter, RecordView

NEWEST = 8


@dataclass(frozen=True, slots=True)
class _News:
    """What changes by itself, and what all that the page shows can be told apart by."""

    records: Sequence[RecordView]
    reports: Sequence[ReportView]
    silent: Sequence[dict[str, Any]]
    etag: str


@dashboard.get("/")
@access.require(Permission.PROFILE)
@may_be_old
def overview() -> ResponseReturnValue:
    """Show a month: to a customer its own page, to a provider what it recorded."""
    who = access.principal()
    if who.role is Role.CUSTOMER:
        return redirect(url_for("dashboard.customer", user_id=who.user_id), code=303)
    now = datetime.now(UTC)
    meters = meter_views(list_meters())
    if who.role is Role.PROVIDER:
        return render_template("dashboard/overview/provider.html", **_provider(now, meters))
    today = current_calendar().today(now)
    month = _read_month(Month.of(today), now)
    if month != Month.of(today):
        return render_template("dashboard/overview/past.html", **_figures(month.dates, now, meters))
    return _this_month(DateRange(month.first, today), now, meters)


def _this_month(days: DateRange, now: datetime, meters: dict[str, MeterView]) -> Response:
    """Answer with the page, or to htmx with what changes on it; nothing if nothing changed."""
    news = _find_news(days, now)
    is_htmx = "HX-Request" in request.headers
    if is_htmx and request.if_none_match.contains_weak(news.etag):
        # htmx would put the empty body in place of what is there.
        response = Response(status=HTTPStatus.NOT_MODIFIED, headers={"HX-Reswap": "none"})
    else:
        template = "_live.html" if is_htmx else "overview.html"
        page = render_template(
            f"dashboard/overview/{template}",
            **_figures(days, now, meters),
            records_today=usage.count_records(days.last, reach=access.reach(Permission.USAGE_READ)),
            records=record_rows(news.records, meters),
            jobs=[job_view(view) for view in news.reports],
            silent=news.silent,
            etag=f'W/"{news.etag}"',
            is_fragment=is_htmx,
        )
        response = Response(page)
    response.set_etag(news.etag, weak=True)
    response.vary.add("HX-Request")
    return response


def _find_news(days: DateRange, now: datetime) -> _News:
    """Read what is new, without pricing anything.

    Where figures are counted for each page, they are the same for as long as kept ones may
    be: two minutes, unless something was recorded.
    """
    records = usage.list_records(
        reach=access.reach(Permission.USAGE_READ),
        matching=RecordFilter(),
        calendar=current_calendar(),
        limit=NEWEST,
    )
    reports = list_reports(reach=access.reach(Permission.REPORTS_READ), limit=NEWEST)
    taken_at, oldest = find_taken_at(days), now - FRESH_FOR
    if taken_at is None or taken_at <= oldest:
        span = int(FRESH_FOR.total_seconds())
        taken_at = datetime.fromtimestamp(int(now.timestamp()) // span * span, UTC)
    silent = silent_sources(now)
    shown = [
        access.principal().user_id,
        silent,
        days,
        taken_at,
        *(record.id for record in records[:1]),
    ]
    for view in reports:
        path = view.report.path if view.report else None
        shown += [view.job.id, view.job.status, view.job.progress, path]
    return _News(records, reports, silent, hashlib.sha256(repr(shown).encode()).hexdigest()[:32])


def _figures(days: DateRange, now: datetime, meters: dict[str, MeterView]) -> dict[str, Any]:
    settings = current_settings()
    month = Month.of(days.first)
    today = current_calendar().today(now)
    is_open = month == Month.of(today)
    found = get_overview(days, terms=_terms(now))
    return {
        "period": {
            "first": days.first,
            "last": days.last,
            "month_end": month.last,
            "days_elapsed": days.days,
            "days_total": month.days,
        },
        "periods": _periods(month, Month.of(today), now),
        "last_month": str(Month.of(today).previous),
        "timezone": settings.timezone,
        "updated_at": found.taken_at,
        "is_demo": has_demo_data(),
        "revenue": revenue_rows(found),
        "forecast": forecast_rows(found),
        "customers": {"with_usage": found.with_usage, "total": found.customers},
        "unpriced": {"lines": found.unpriced_lines, "customers": found.unpriced_customers},
        "charts": overview_charts(found, meters, is_open=is_open),
        "top_customers": ranking_rows(found, is_open=is_open),
    }


def _read_month(current: Month, now: datetime) -> Month:
    """Return the month of the address, or the current one if it is not offered."""
    month = read_month(request.args.get("month"), default=current)
    return month if month in _offered(current, now) else current


def _offered(current: Month, now: datetime) -> list[Month]:
    """Return the months that nobody has to wait for, the newest first."""
    months = [current]
    if not is_small():
        return months + list_kept_months(terms=_terms(now))
    for _ in range(MONTHS_OFFERED - 1):
        months.append(months[-1].previous)
    return months


def _terms(now: datetime) -> Terms:
    return Terms(current_calendar(), current_settings().currency, now)


def _periods(shown: Month, current: Month, now: datetime) -> list[dict[str, Any]]:
    """Return the months to look at: this one, the last, and what is shown if it is another."""
    if current.previous not in _offered(current, now):
        return []
    labels = {current: "This month", current.previous: "Last month"}
    labels.setdefault(shown, month_name(shown.first))
    return [
        {
            "label": label,
            "href": url_for("dashboard.overview", month=None if month == current else str(month)),
            "active": month == shown,
        }
        for month, label in labels.items()
    ]


def _provider(now: datetime, meters: dict[str, MeterView]) -> dict[str, Any]:
    calendar = current_calendar()
    today = calendar.today(now)
    month = Month.of(today)
    reach = access.reach(Permission.USAGE_READ)
    rows = usage.summarize(
        reach=reach,
        matching=RecordFilter(days=month.dates),
        calendar=calendar,
        group_by="day",
    )
    by_event: dict[str, list[int]] = {}
    for row in rows:
        total = by_event.setdefault(row.event, [0, 0])
        total[0] += row.count
        total[1] += row.quantity
    newest = usage.list_records(
        reach=reach, matching=RecordFilter(), calendar=calendar, limit=2 * NEWEST
    )
    return {
        "counts": {
            "today": sum(row.count for row in rows if row.day == today),
            "month": sum(row.count for row in rows),
            "customers": usage.count_users(month.dates, reach=reach, calendar=calendar),
        },
        "month": month.first,
        "timezone": current_settings().timezone,
        "updated_at": now,
        "silent": silent_sources(now),
        "by_event": [
            {"meter": meters[code], "count": by_event[code][0], "quantity": by_event[code][1]}
            for code in meters
            if code in by_event
        ],
        "records": record_rows(newest, meters),
    }
