"""Tables as files: CSV for programs and XLSX for people, with the same cells in both."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

Cell = str | int | Decimal | date | None

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
EXACT_DIGITS = 15
"""A number in a spreadsheet keeps 15 digits; longer ones are written as text."""


class Kind(StrEnum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    MONEY = "money"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its heading, what it holds, its width in characters, its decimal places."""

    title: str
    kind: Kind = Kind.TEXT
    width: int = 14
    places: int = 0


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table under a name, with one cell for each column in every row."""

    name: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]


def to_csv(sheet: Sheet) -> bytes:
    """Return the sheet as RFC 4180 CSV in UTF-8, marked so that spreadsheets read it as such.

    Numbers are plain, dates ISO 8601; text that a spreadsheet would take for a formula is
    preceded by an apostrophe.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow([column.title for column in sheet.columns])
    for row in sheet.rows:
        writer.writerow([_plain(cell) for cell in row])
    return text.getvalue().encode("utf-8-sig")


def to_xlsx(sheets: Sequence[Sheet], *, title: str, created_at: datetime) -> bytes:
    """Return a workbook with real numbers and dates, frozen headings and set widths.

    The same sheets and instant give the same bytes. Nothing in it is a formula.
    """
    content = io.BytesIO()
    workbook = xlsxwriter.Workbook(
        content,
        {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False},
    )
    created = created_at.astimezone(UTC).replace(tzinfo=None, microsecond=0)
    workbook.set_properties({"title": title, "author": "billtrack", "created": created})
    heading = workbook.add_format({"bold": True, "bottom": 1, "valign": "top"})
    for sheet in sheets:
        page = workbook.add_worksheet(sheet.name)
        page.freeze_panes(1, 0)
        for index, column in enumerate(sheet.columns):
            style = workbook.add_format({"num_format": _number_format(column)})
            page.set_column(index, index, column.width)
            page.write_string(0, index, column.title, heading)
            for number, row in enumerate(sheet.rows, start=1):
                _write(page, number, index, row[index], style)
    workbook.close()
    return content.getvalue()


def _plain(cell: Cell) -> str:
    if cell is None:
        return ""
    if isinstance(cell, str):
        return f"'{cell}" if cell.startswith(FORMULA_STARTS) else cell
    return f"{cell:f}" if isinstance(cell, Decimal) else str(cell)


def _number_format(column: Column) -> str:
    places = "." + "0" * column.places if column.places else ""
    return {
        Kind.TEXT: "@",
        Kind.INTEGER: "#,##0",
        Kind.DECIMAL: "0.############",
        Kind.MONEY: f"#,##0{places}",
        Kind.DATE: "yyyy-mm-dd",
    }[column.kind]


def _write(page: Worksheet, row: int, column: int, cell: Cell, style: Format) -> None:
    if cell is None:
        return
    if isinstance(cell, date):
        page.write_datetime(row, column, cell, style)
    elif isinstance(cell, int | Decimal) and _fits(cell):
        page.write_number(row, column, cell, style)
    else:
        page.write_string(row, column, _plain(cell) if not isinstance(cell, str) else cell, style)


def _fits(number: int | Decimal) -> bool:
    digits = Decimal(number).normalize().as_tuple().digits
    return len(digits) <= EXACT_DIGITS
