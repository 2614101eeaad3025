"""The figures of a usage report as tables, for CSV and XLSX."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from fractions import Fraction

from billtrack.billing.pricing.lines import Line
from billtrack.billing.statements.wording import describe
from billtrack.core.money import format_exact, format_minor, minor_unit_places
from billtrack.documents.reports.catalog import UsageReport
from billtrack.presentation.tables import Cell, Column, Kind, Sheet

Row = list[Cell]


def flat_sheet(report: UsageReport) -> Sheet:
    """Return everything as one table: a `section` says what a row is.

    `line` rows are the statement, `tier` rows the arithmetic of the line above, `day` rows the
    usage of a day and event with its cost, and the `total` row closes the statement.
    """
    rows: list[Row] = []
    for line in report.found.statement.lines:
        rows.append(["line", *_line_cells(report, line), *[None] * 4, *_closing(report, line)])
        rows += [["tier", *tier, report.currency] for tier in _tier_rows(report, line)]
    total = _money(report, report.found.statement.total)
    period = report.period
    rows.append(["total", None, period.first, period.last, *[None] * 8, total, report.currency])
    rows += [["day", *day, report.currency] for day in _day_rows(report)]
    about: Row = [report.customer_id, report.customer_name, report.customer_email, report.number]
    return Sheet("Report", _FLAT_COLUMNS, [row + about for row in rows])


def workbook_sheets(report: UsageReport) -> list[Sheet]:
    """Return the report as sheets: what it is about, its lines, their tiers, its days."""
    lines = report.found.statement.lines
    tiers = [tier for line in lines for tier in _tier_rows(report, line)]
    return [
        Sheet("Summary", _SUMMARY_COLUMNS, list(_facts(report))),
        Sheet("Lines", _line_columns(report), [_line_row(report, line) for line in lines]),
        Sheet("Tiers", _tier_columns(), tiers),
        Sheet("Days", _day_columns(report), [_day_row(report, day) for day in report.shown]),
    ]


_FLAT_COLUMNS = [
    Column(name)
    for name in (
        *("section", "line", "from", "to", "event", "description", "quantity", "unit"),
        *("above", "up_to", "unit_price", "per", "amount", "currency"),
        *("customer_id", "customer", "email", "report"),
    )
]
_SUMMARY_COLUMNS = [Column("What", width=18), Column("Value", width=42)]


def _facts(report: UsageReport) -> Iterator[Row]:
    total = format_minor(report.found.statement.total, report.currency)
    yield ["Customer", report.customer_name]
    yield ["E-mail", report.customer_email]
    yield ["Plan", report.plan_name or "none"]
    yield ["From", str(report.period.first)]
    yield ["To", str(report.period.last)]
    yield ["Time zone", report.timezone]
    yield ["Total so far" if report.found.is_open else "Total", f"{total} {report.currency}"]
    yield ["Report", str(report.number)]
    yield ["Asked for at", report.requested_at.isoformat(timespec="seconds")]


def _line_columns(report: UsageReport) -> list[Column]:
    return [
        Column("Line", width=34),
        Column("From", Kind.DATE, 11),
        Column("To", Kind.DATE, 11),
        Column("Event", width=14),
        Column("Description", width=28),
        Column("Quantity", Kind.INTEGER, 18),
        Column("Unit", width=12),
        Column("Included", Kind.INTEGER, 14),
        Column("Billable", Kind.INTEGER, 18),
        Column("Model", width=11),
        Column("Applied", width=10),
        Column("Plan", width=14),
        Column("Version", Kind.INTEGER, 8),
        _money_column(report),
    ]


def _tier_columns() -> list[Column]:
    return [
        Column("Line", width=34),
        Column("From", Kind.DATE, 11),
        Column("To", Kind.DATE, 11),
        Column("Event", width=14),
        Column("Description", width=28),
        Column("Quantity", Kind.INTEGER, 18),
        Column("Unit", width=12),
        Column("Above", Kind.INTEGER, 16),
        Column("Up to", Kind.INTEGER, 16),
        Column("Unit price", Kind.DECIMAL, 16),
        Column("Per", Kind.INTEGER, 10),
        Column("Amount, exact", Kind.DECIMAL, 20),
    ]


def _day_columns(report: UsageReport) -> list[Column]:
    units = [Column(f"{m.name}, {m.base_unit}", Kind.INTEGER, 20) for m in report.used_meters]
    return [Column("Day", Kind.DATE, 11), *units, _money_column(report)]


def _money_column(report: UsageReport) -> Column:
    places = minor_unit_places(report.currency)
    return Column(f"Amount, {report.currency}", Kind.MONEY, 16, places)


def _line_row(report: UsageReport, line: Line) -> Row:
    return [
        *_line_cells(report, line),
        line.included if line.charge else None,
        line.billable_quantity if line.charge else None,
        line.charge.model if line.charge else None,
        line.applied,
        line.plan,
        line.plan_version,
        _money(report, line.amount),
    ]


def _line_cells(report: UsageReport, line: Line) -> Row:
    units = {meter.code: meter.base_unit for meter in report.meters}
    names = {meter.code: meter.name for meter in report.meters}
    is_usage = line.kind in {"usage", "unpriced"}
    return [
        line.id,
        line.period.first if line.period else None,
        line.period.last if line.period else None,
        line.meter,
        describe(line, names),
        line.quantity if is_usage else None,
        units.get(line.meter or "") if is_usage else None,
    ]


def _closing(report: UsageReport, line: Line) -> Row:
    return [_money(report, line.amount), report.currency]


def _tier_rows(report: UsageReport, line: Line) -> list[Row]:
    return [
        [
            *_line_cells(report, line)[:5],
            tier.quantity,
            _line_cells(report, line)[6],
            tier.above,
            tier.up_to,
            _exact(tier.unit_price),
            tier.per,
            _exact(tier.amount),
        ]
        for tier in line.tiers
    ]


def _day_rows(report: UsageReport) -> Iterator[Row]:
    for day in report.shown:
        for meter in report.used_meters:
            quantity = report.quantity_on(meter, day)
            cost = report.costs.get(meter.code, {}).get(day, 0)
            if quantity or cost:
                amount = _money(report, cost)
                what: Row = [meter.code, meter.name, quantity, meter.base_unit]
                yield [None, day, day, *what, *[None] * 4, amount]


def _day_row(report: UsageReport, day: date) -> Row:
    quantities = [report.quantity_on(meter, day) for meter in report.used_meters]
    return [day, *quantities, _money(report, report.cost_on(day))]


def _money(report: UsageReport, minor: int) -> Decimal:
    return Decimal(format_minor(minor, report.currency))


def _exact(amount: Fraction) -> Decimal:
    return Decimal(format_exact(amount))
