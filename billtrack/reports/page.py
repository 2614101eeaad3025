"""A usage report as the HTML page that becomes its PDF."""

from __future__ import annotations

from flask import render_template

from billtrack.documents.rendering import STATIC
from billtrack.present.charts import read_paper
from billtrack.present.costs import cost_chart
from billtrack.present.statements import daily_tables, has_content, meter_views, statement_view
from billtrack.reports.catalog import UsageReport

CHART_WIDTH = 480
"""Width of the daily chart on paper, in CSS pixels."""


def report_page(report: UsageReport) -> str:
    """Return the document as HTML; the same report gives the same page."""
    meters = meter_views(report.meters)
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
            "email": report.customer_email,
            "plan": report.plan_name,
        },
        statement=statement_view(report.found, meters),
        chart=cost_chart(
            report.costs,
            report.shown,
            currency=report.currency,
            meters=meters,
            title=f"Usage cost by day, {report.currency}",
            paper=read_paper(STATIC / "css" / "tokens.css", width=CHART_WIDTH),
        ),
        months=daily_tables(
            report.shown, quantities=report.quantities, costs=report.costs, meters=meters
        ),
        has_content=has_content(report.found),
    )
