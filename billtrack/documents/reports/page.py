"""A usage report as the HTML page that becomes its PDF."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from flask import render_template

from billtrack.documents.reports.catalog import UsageReport
from billtrack.documents.reports.chart import cost_by_day
from billtrack.documents.reports.days import days_of_use
from billtrack.presentation.statements import has_content, meter_views, statement_view


def report_page(report: UsageReport) -> str:
    """Return the document as HTML; the same report gives the same page."""
    meters = meter_views(report.meters)
    statement = statement_view(report.found, meters)
    return render_template(
        "documents/usage_report.html",
        report={
            "id": str(report.number),
            "requested_at": report.requested_at,
            "issuer": "billtrack",
            "timezone": report.timezone,
        },
        customer={
            "name": report.customer_name,
            "direction": _direction(report.customer_name),
            "email": report.customer_email,
            "plan": report.plan_name,
        },
        statement=statement,
        summary=_summary(statement["lines"]),
        months=_months(report, statement["lines"]),
        has_content=has_content(report.found),
        chart=cost_by_day(report, meters),
        days=days_of_use(report, meters),
    )


def _direction(text: str) -> str:
    """Return rtl where the first letter is of a script written from the right, else ltr.

    What `dir="auto"` does in browsers; WeasyPrint does not know it.
    """
    kinds = (unicodedata.bidirectional(character) for character in text)
    first = next((kind for kind in kinds if kind in {"L", "R", "AL"}), "L")
    return "ltr" if first == "L" else "rtl"


def _summary(lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Add up the lines of several months: one row for each event and each kind of due."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for line in lines:
        meter = line["meter"]
        key = (line["kind"], meter.code if meter else line["description"].partition(",")[0])
        blank = {"quantity": None, "amount_minor": None, "from": None, "applied": None}
        row = rows.setdefault(key, {**line, "description": key[1], **blank})
        for figure in ("quantity", "amount_minor"):
            if line[figure] is not None:
                row[figure] = (row[figure] or 0) + line[figure]
    return list(rows.values())


def _months(report: UsageReport, lines: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the lines of each month, when the period has several."""
    windows = [window for _, window in report.period.months()]
    if len(windows) == 1:
        return []
    return [
        {
            "from": window.first,
            "to": window.last,
            "lines": of_month,
            "total_minor": sum(line["amount_minor"] or 0 for line in of_month),
        }
        for window in windows
        if (of_month := [one for one in lines if one["from"] and window.contains(one["from"])])
    ]
