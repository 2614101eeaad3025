"""The page of one customer."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import partial
from itertools import dropwhile
from typing import Any

from flask import render_template, request, url_for
from flask.typing import ResponseReturnValue

from billtrack.accounts import access
from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Permission
from billtrack.accounts.users.queries import UserNotFound, find_user
from billtrack.billing.month_totals.months import list_month_totals
from billtrack.billing.plans.queries import plan_on
from billtrack.billing.pricing.charges import TIERED_MODELS
from billtrack.billing.pricing.rating import rate
from billtrack.billing.pricing.statement import MixedCurrencies
from billtrack.billing.statements.queries import Given, Terms, UserStatement, read_given
from billtrack.core.money import minor_unit_places
from billtrack.core.periods import Month
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.jobs import job_view
from billtrack.dashboard.shared.ranges import Asked, bars, by_month, customer_presets, read_asked
from billtrack.documents.reports.queries import list_reports
from billtrack.platform.extensions import current_calendar, current_settings
from billtrack.presentation.curves import tier_curve
from billtrack.presentation.drawings import Drawing
from billtrack.presentation.filters import MeterView, money, quantity, unit_suffix
from billtrack.presentation.filters import month as month_name
from billtrack.presentation.lines import sparkline
from billtrack.presentation.statements import has_content, meter_views, statement_view
from billtrack.usage.records.meters import list_meters
from billtrack.usage.records.queries import daily_totals

REPORTS_SHOWN = 8
COST = "cost"  # what the chart shows unless it is asked for an event

Meters = Mapping[str, MeterView]


@dashboard.get("/customers/<id:user_id>")
@access.require(Permission.STATEMENTS_READ)
def customer(user_id: int) -> ResponseReturnValue:
    """Show one customer: usage by day or month, the statement with its tiers, reports."""
    now = datetime.now(UTC)
    reach = access.reach(Permission.STATEMENTS_READ)
    user = find_user(user_id) if reach.covers(user_id) else None
    if user is None:
        raise UserNotFound(user_id)
    calendar, who = current_calendar(), access.principal()
    today = calendar.today(now)
    asked, meters = read_asked(today), meter_views(list_meters())
    show = request.args.get("show", COST)
    show = show if show in meters else COST
    reports = list_reports(reach=reach, user_id=user_id, limit=REPORTS_SHOWN)
    return render_template(
        "dashboard/customers/customer.html",
        customer=_heading(user, today),
        own=who.user_id == user_id,
        can_record=who.may(Permission.USAGE_RECORD),
        can_report=who.may(Permission.REPORTS_CREATE),
        days=asked.days,
        problem=asked.problem,
        month=str(Month.of(asked.days.last)),
        choices=_choices(user_id, show, meters),
        ranges=_ranges(user_id, show, asked, today),
        months=_months(user_id, today),
        jobs=[job_view(view, own=True) for view in reports],
        **_figures(user_id, asked, show, meters, now),
    )


def _figures(
    user_id: int, asked: Asked, show: str, meters: Meters, now: datetime
) -> dict[str, Any]:
    terms = Terms(current_calendar(), current_settings().currency, now)
    try:
        given = read_given([user_id], asked.days)
        found = given.statement(user_id, terms=terms)
    except MixedCurrencies as error:
        chart = None if show == COST else _usage_chart(user_id, asked, meters[show])
        return {"chart": chart, "statement": None, "mixed": error.detail, "unpriced": 0}
    is_cost = show == COST
    return {
        "chart": _cost_chart(found, given, asked, meters)
        if is_cost
        else _usage_chart(user_id, asked, meters[show]),
        "statement": statement_view(found, meters) if has_content(found) else None,
        "by_month": _amounts_by_month(found),
        "curves": _curves(found, meters),
        "mixed": None,
        "unpriced": sum(line.kind == "unpriced" for line in found.statement.lines),
    }


def _cost_chart(found: UserStatement, given: Given, asked: Asked, meters: Meters) -> Drawing | None:
    costs: dict[str, dict[date, int]] = {}
    if asked.by_month:  # the lines are by month already
        for line in found.statement.lines:
            if line.meter and line.month:
                months = costs.setdefault(line.meter, {})
                months[line.month.first] = months.get(line.month.first, 0) + line.amount
    else:
        costs = given.daily_costs(found.user_id)
    return bars(
        asked,
        [(meter.name, meter.colour, costs.get(code, {})) for code, meter in meters.items()],
        title=f"Usage cost by {'month' if asked.by_month else 'day'}, {found.currency}",
        tell=partial(money, currency=found.currency),
        factor=10 ** minor_unit_places(found.currency),
    )


def _usage_chart(user_id: int, asked: Asked, meter: MeterView) -> Drawing | None:
    used = daily_totals([user_id], asked.days)[user_id].get(meter.code, {})
    return bars(
        asked,
        [(meter.name, meter.colour, by_month(used) if asked.by_month else used)],
        title=f"{meter.name} by {'month' if asked.by_month else 'day'}{unit_suffix(meter)}",
        tell=partial(quantity, meter=meter),
        factor=meter.factor,
    )


def _curves(found: UserStatement, meters: Meters) -> list[Drawing]:
    """Draw the tiers of every charge whose curve passes through the amount of its line."""
    lines = found.statement.lines
    if len({line.month for line in lines}) != 1:
        return []
    curves = []
    for line in lines:
        charge, meter = line.charge, meters.get(line.meter or "")
        if charge is None or meter is None or charge.model not in TIERED_MODELS:
            continue
        whole = rate(charge=charge, quantity=line.quantity, currency=found.currency)
        # A line of later days, or of a part of a month, starts elsewhere on its curve.
        if line.quantity and whole.amount == line.amount:
            title = f"{meter.name}: amount by quantity, {found.currency}"
            curves.append(
                tier_curve(charge, line.quantity, currency=found.currency, meter=meter, title=title)
            )
    return curves


def _amounts_by_month(found: UserStatement) -> list[dict[str, Any]]:
    """Return what each month of the range comes to, the newest first; of one month, nothing."""
    windows = list(found.statement.period.months())
    if len(windows) == 1:
        return []
    sums: dict[Month | None, int] = {}
    for line in found.statement.lines:
        sums[line.month] = sums.get(line.month, 0) + line.amount
    return [
        {"month": str(own), "days": window, "minor": sums.get(own, 0)}
        for own, window in reversed(windows)
    ]


def _months(user_id: int, today: date) -> dict[str, Any] | None:
    """Return the last 13 months as a line and rows, or None where nothing was ever due."""
    try:
        totals = list_month_totals([user_id], today)[user_id]
    except MixedCurrencies:
        return None
    if not any(total.minor for total in totals):
        return None
    priced = list(dropwhile(lambda total: not total.minor, totals))  # from the first that cost
    currencies = {total.currency for total in priced if total.currency}
    first, last = priced[0], priced[-1]
    title = f"Totals of each month from {_name(first.month)} to {_name(last.month)}"
    values = [total.minor for total in priced]
    return {
        "spark": sparkline(values, title=title) if len(currencies) == 1 < len(priced) else None,
        "first": first.month.first,
        "last": last.month.first,
        "rows": [
            {
                "month": str(one.month),
                "first": one.month.first,
                "minor": one.minor,
                "currency": one.currency,
            }
            for one in reversed(totals)
        ],
    }


def _name(month: Month) -> str:
    return month_name(month.first)


def _choices(user_id: int, show: str, meters: Meters) -> list[dict[str, Any]]:
    names = ("month", "from", "to")
    args: dict[str, Any] = {name: request.args[name] for name in names if name in request.args}
    args["user_id"] = user_id
    options = [(COST, "Cost"), *((code, meter.name) for code, meter in meters.items())]
    return [
        {
            "label": label,
            "active": code == show,
            "href": url_for(
                "dashboard.customer", **{**args, **({} if code == COST else {"show": code})}
            ),
        }
        for code, label in options
    ]


def _ranges(user_id: int, show: str, asked: Asked, today: date) -> dict[str, Any]:
    shown: dict[str, Any] = {} if show == COST else {"show": show}
    items = [
        {
            "label": label,
            "href": url_for("dashboard.customer", **{"user_id": user_id, **args, **shown}),
            "active": asked.days == days,
        }
        for label, args, days in customer_presets(today)
    ]
    custom = {
        "action": url_for("dashboard.customer", user_id=user_id),
        "first": str(asked.days.first),
        "last": str(asked.days.last),
        "active": not any(item["active"] for item in items),
        "args": shown,
    }
    return {"items": items, "custom": custom}


def _heading(user: User, today: date) -> dict[str, Any]:
    plan = plan_on(user.id, today)
    return {
        "id": user.id,
        "name": user.name,
        "email": user.email,
        "since": current_calendar().day_of(user.created_at),
        "active": user.is_active,
        "erased": user.is_erased,
        "is_demo": user.is_demo,
        "plan": {"code": plan.code, "name": plan.name} if plan else None,
    }
