"""Jobs and reports as plain view data for templates."""

from __future__ import annotations

from datetime import date
from typing import Any

from billtrack.documents.reports.queries import ReportView
from billtrack.presentation.filters import day_range


def job_view(view: ReportView, *, own: bool = False) -> dict[str, Any]:
    """Return the job as reports/_job.html takes it; `own`: on the page of its customer."""
    job, report = view.job, view.report
    first, last, kind = _asked(view)
    period = day_range(first, last)
    name = view.user.name if view.user else "Reports for all customers"
    return {
        "id": str(job.id),
        "title": period if own else name,
        "note": kind if own else f"{period} · {kind}",
        "is_group": report is None,
        "status": job.status,
        "progress": job.progress,
        "done": None,
        "of": None,
        "error": job.error,
        "created_at": job.created_at,
        "filename": view.filename if report and report.path else None,
        "was_erased": _was_erased(view),
        "can_retry": report is not None,
    }


def _was_erased(view: ReportView) -> bool:
    """Tell whether the file was removed because it named a person whose data are erased."""
    report, erased_at = view.report, view.user.erased_at if view.user else None
    return bool(report and erased_at and report.requested_at <= erased_at)


def _asked(view: ReportView) -> tuple[date, date, str]:
    """Return the inclusive days and the format; a parent job has them in its payload."""
    if view.report is not None:
        return view.report.first_on, view.report.last_on, view.report.format.upper()
    asked = view.job.payload
    first, last = date.fromisoformat(asked["first"]), date.fromisoformat(asked["last"])
    return first, last, asked["format"].upper()
