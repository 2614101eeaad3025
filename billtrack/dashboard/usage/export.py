"""Usage records as files: CSV of any size, XLSX as long as a spreadsheet is the right tool."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import IO, Any
from zoneinfo import ZoneInfo

import xlsxwriter
from flask import Response, stream_with_context
from sqlalchemy.exc import DBAPIError

from billtrack.accounts.users.permissions import Reach
from billtrack.platform.extensions import current_calendar, current_settings
from billtrack.platform.replica.reading import leave_replica, prefer_replica
from billtrack.presentation.filters import MeterView
from billtrack.presentation.tables import Cell, Column, Kind, Sheet, to_csv
from billtrack.presentation.usage import record_rows
from billtrack.usage.records import queries
from billtrack.usage.records.queries import RecordFilter, RecordView

MAX_XLSX_ROWS = 100_000
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
CHUNK = 1 << 16
FORMATS = {Kind.INTEGER: "0", Kind.DATE: "yyyy-mm-dd hh:mm:ss", Kind.TEXT: "@"}

# Only what the list shows, and why a record was reversed: keys and metadata are for programs.
COLUMNS = (
    Column("Record", Kind.INTEGER, 12),
    Column("Time", Kind.DATE, 20),
    Column("Customer id", Kind.INTEGER, 12),
    Column("Customer", width=28),
    Column("Event", width=16),
    Column("Quantity", Kind.INTEGER, 20),
    Column("Unit", width=14),
    Column("Source", width=28),
    Column("Reverses", Kind.INTEGER, 12),
    Column("Reversed by", Kind.INTEGER, 12),
    Column("Reason", width=36),
)

Meters = Mapping[str, MeterView]
Row = Sequence[Cell]


def csv_answer(*, reach: Reach, matching: RecordFilter, meters: Meters) -> Response:
    """Return all that matches as CSV, read and sent a thousand records at a time."""
    parts = _csv_parts(_batches(reach, matching, meters))
    response = Response(stream_with_context(parts), mimetype="text/csv")
    response.headers["Content-Disposition"] = _attachment(matching, "csv")
    return response


def xlsx_answer(*, reach: Reach, matching: RecordFilter, meters: Meters) -> Response | None:
    """Return all that matches as a workbook, or None for more than 100,000 records."""
    totals = queries.summarize(
        reach=reach, matching=matching, calendar=current_calendar(), group_by="event"
    )
    if sum(row.count for row in totals) > MAX_XLSX_ROWS:
        return None
    file = tempfile.TemporaryFile()  # noqa: SIM115 (it is closed when it has been sent)
    _write_workbook(file, _batches(reach, matching, meters))
    size = file.tell()
    file.seek(0)
    response = Response(_chunks(file), mimetype=XLSX)
    response.call_on_close(file.close)
    response.content_length = size
    response.headers["Content-Disposition"] = _attachment(matching, "xlsx")
    return response


def filename(matching: RecordFilter, extension: str) -> str:
    """Name a file by its filter: usage-customer-5-api_calls-2026-11-01-to-2026-11-22.csv."""
    parts = ["usage"]
    if matching.user_id is not None:
        parts.append(f"customer-{matching.user_id}")
    if matching.event is not None:
        parts.append(matching.event)
    if matching.days is not None:
        parts.append(f"{matching.days.first}-to-{matching.days.last}")
    return f"{'-'.join(parts if len(parts) > 1 else [*parts, 'all'])}.{extension}"


def _attachment(matching: RecordFilter, extension: str) -> str:
    return f'attachment; filename="{filename(matching, extension)}"'


def _batches(reach: Reach, matching: RecordFilter, meters: Meters) -> Iterator[list[list[Cell]]]:
    zone = ZoneInfo(current_settings().timezone)
    for records in _records(reach, matching):
        shown = record_rows(records, meters)
        yield [_cells(*pair, zone) for pair in zip(records, shown, strict=True)]


def _records(reach: Reach, matching: RecordFilter) -> Iterator[list[RecordView]]:
    """Yield all records. Where a replica breaks off, the primary goes on below the last one."""
    prefer_replica()
    asked: dict[str, Any] = {"reach": reach, "matching": matching, "calendar": current_calendar()}
    last_id: int | None = None
    try:
        for records in queries.stream_records(**asked):
            yield records
            last_id = records[-1].id
    except DBAPIError as error:
        if not leave_replica(error):
            raise
        while rest := queries.list_records(**asked, before_id=last_id, limit=queries.BATCH):
            yield rest
            last_id = rest[-1].id


def _cells(record: RecordView, shown: Mapping[str, Any], zone: ZoneInfo) -> list[Cell]:
    return [
        record.id,
        record.occurred_at.astimezone(zone),
        record.user_id,
        shown["user_name"],
        record.event,
        record.quantity,
        shown["meter"].base_unit,
        shown["source"],
        record.reverses_id,
        record.reversed_by_id,
        record.reason,
    ]


def _csv_parts(batches: Iterator[list[list[Cell]]]) -> Iterator[bytes]:
    yield to_csv(Sheet("Usage", COLUMNS, []))
    for rows in batches:
        # The head, which every table begins with, has been sent.
        table = to_csv(Sheet("Usage", COLUMNS, [_with_iso(row) for row in rows]))
        yield table.partition(b"\r\n")[2]


def _with_iso(row: Row) -> list[Cell]:
    return [cell.isoformat() if isinstance(cell, datetime) else cell for cell in row]


def _write_workbook(file: IO[bytes], batches: Iterator[list[list[Cell]]]) -> None:
    """Write row by row, so that what is written leaves the memory; nothing is a formula."""
    workbook = xlsxwriter.Workbook(file, {"constant_memory": True})
    workbook.set_properties({"title": "Usage records", "author": "billtrack"})
    heading = workbook.add_format({"bold": True, "bottom": 1, "valign": "top"})
    styles = {kind: workbook.add_format({"num_format": text}) for kind, text in FORMATS.items()}
    page = workbook.add_worksheet("Usage")
    page.freeze_panes(1, 0)
    for index, column in enumerate(COLUMNS):
        page.set_column(index, index, column.width)
        told = f"Time, {current_settings().timezone}" if column.title == "Time" else column.title
        page.write_string(0, index, told, heading)
    for number, row in enumerate(chain.from_iterable(batches), start=1):
        for index, cell in enumerate(row):
            style = styles[COLUMNS[index].kind]
            if isinstance(cell, datetime):
                page.write_datetime(number, index, cell.replace(tzinfo=None), style)
            elif isinstance(cell, int):
                page.write_number(number, index, cell, style)
            elif isinstance(cell, str):
                page.write_string(number, index, cell, style)
    workbook.close()


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    while chunk := file.read(CHUNK):
        yield chunk
