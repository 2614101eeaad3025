"""Reports: ask for them, watch them, download them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import current_app, redirect, render_template, request, send_file, url_for
from flask.typing import ResponseReturnValue

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Breadth, Permission
from billtrack.accounts.users.queries import find_user, list_customers
from billtrack.core.periods import DateRange, Month
from billtrack.dashboard.reports.forms import CUSTOM_RANGE, GenerateReportForm
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.jobs import job_view
from billtrack.dashboard.shared.numbers import read_number
from billtrack.dashboard.shared.periods import month_choices, read_month
from billtrack.documents.reports import operations
from billtrack.documents.reports.queries import ReportNotFound, get_report, list_reports
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar
from billtrack.platform.jobs.operations import retry
from billtrack.platform.limits import Budget
from billtrack.platform.storage.storage import DocumentGone, Storage

PAGE_SIZE = 25
ALL_CUSTOMERS = "all"
MIMETYPES = {
    "pdf": "application/pdf",
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "json": "application/json",
}


@dashboard.get("/reports")
@access.require(Permission.REPORTS_READ)
def reports() -> ResponseReturnValue:
    """List reports with how far they are, and the form that asks for one."""
    return _page(_form())


@dashboard.post("/reports")
@access.require(Permission.REPORTS_CREATE, budget=Budget.REPORTS)
def generate_report() -> ResponseReturnValue:
    """Queue a report about one customer or about all of them."""
    form = _form()
    if not form.validate_on_submit():
        return _page(form), 422
    days = DateRange(*form.days())
    now, actor = datetime.now(UTC), access.actor()
    asked: dict[str, Any] = {"file_format": form.format.data, "actor": actor, "now": now}
    with transaction():
        if form.customer.data == ALL_CUSTOMERS:
            operations.request_reports(list_customers(), days, **asked)
        elif (user := find_user(int(form.customer.data))) is not None:
            operations.request_report(user, days, **asked)
    return redirect(url_for("dashboard.reports"), code=303)


@dashboard.get("/reports/jobs/<id:job_id>")
@access.require(Permission.REPORTS_READ)
def report_job(job_id: int) -> ResponseReturnValue:
    """Show how far a report is: a fragment for htmx, a page for a browser."""
    view = get_report(job_id, reach=access.reach(Permission.REPORTS_READ))
    job = job_view(view, own=_is_own_page())
    is_fragment = request.headers.get("HX-Request") == "true"
    name = "dashboard/reports/_job.html" if is_fragment else "dashboard/reports/job.html"
    return render_template(name, job=job)


@dashboard.post("/reports/jobs/<id:job_id>/retry")
@access.require(Permission.REPORTS_CREATE, budget=Budget.REPORTS)
def retry_job(job_id: int) -> ResponseReturnValue:
    """Queue a failed report once more."""
    reach = access.reach(Permission.REPORTS_CREATE)
    with transaction():
        view = get_report(job_id, reach=reach)
        retry(view.job, actor=access.actor(), now=datetime.now(UTC))
    if request.headers.get("HX-Request") == "true":
        job = job_view(get_report(job_id, reach=reach), own=_is_own_page())
        return render_template("dashboard/reports/_job.html", job=job)
    return redirect(url_for("dashboard.reports"), code=303)


@dashboard.get("/reports/<id:job_id>/<filename>")
@access.require(Permission.REPORTS_READ, either=True)
def download(job_id: int, filename: str) -> ResponseReturnValue:
    """Send the file of a report to whoever may see it."""
    view = get_report(job_id, reach=access.reach(Permission.REPORTS_READ))
    if view.report is None or filename != view.filename:
        raise ReportNotFound(job_id)
    if view.report.path is None:
        raise DocumentGone("There is no file of this report any more. Generate it again.")
    storage: Storage = current_app.extensions["billtrack.storage"]
    response = send_file(
        storage.open(view.report.path),
        mimetype=MIMETYPES[view.report.format],
        as_attachment=True,
        download_name=filename,
    )
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _page(form: GenerateReportForm) -> str:
    before_id = read_number("cursor")
    views = list_reports(
        reach=access.reach(Permission.REPORTS_READ), before_id=before_id, limit=PAGE_SIZE + 1
    )
    shown, more = views[:PAGE_SIZE], len(views) > PAGE_SIZE
    return render_template(
        "dashboard/reports/reports.html",
        form=form,
        jobs=[job_view(view, own=_is_own_page()) for view in shown],
        next_cursor=str(shown[-1].job.id) if more else None,
        cursor=str(before_id) if before_id else None,
    )


def _form() -> GenerateReportForm:
    current = Month.of(current_calendar().today(datetime.now(UTC)))
    asked = read_month(request.args.get("month"), default=current)
    months = month_choices(current)
    is_offered = str(asked) in dict(months)
    return GenerateReportForm(
        request.form if request.method == "POST" else None,
        customers=_customer_choices(),
        months=months,
        formats=[(name, name.upper()) for name in operations.FORMATS],
        customer=request.args.get("customer", ""),
        month=str(asked) if is_offered else CUSTOM_RANGE,
        first=None if is_offered else asked.first,
        last=None if is_offered else asked.last,
    )


def _customer_choices() -> list[tuple[str, str]]:
    reach = access.reach(Permission.REPORTS_CREATE)
    if reach.breadth is not Breadth.ALL:
        return [(str(reach.user_id), access.principal().name)]
    customers = [(str(user.id), user.name) for user in list_customers()]
    return [(ALL_CUSTOMERS, "All customers"), *customers] if customers else []


def _is_own_page() -> bool:
    return access.reach(Permission.REPORTS_READ).breadth is not Breadth.ALL
