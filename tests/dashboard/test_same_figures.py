"""One month, one sum: the overview, the statements and every document agree to the cent."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import openpyxl
import pytest
from apiflask import APIFlask
from pypdf import PdfReader

from billtrack.billing.plans.operations import subscribe
from billtrack.core.periods import Month
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar
from tests.cast import SYSTEM, Cast, create_record
from tests.dashboard.conftest import RunJobs
from tests.dashboard.page import Visitor

EVENTS = ("api_calls", "vm_uptime", "cpu_time", "data_storage")


def total_of_pdf(content: bytes) -> Decimal:
    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(content)).pages)
    (total,) = set(re.findall(r"Total[^$]*\$([0-9,]+\.[0-9]{2})", text))
    return Decimal(total.replace(",", ""))


def total_of_csv(content: bytes) -> Decimal:
    rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    (total,) = (row["amount"] for row in rows if row["section"] == "total")
    return Decimal(total)


def total_of_xlsx(content: bytes) -> Decimal:
    book = openpyxl.load_workbook(io.BytesIO(content))
    lines = book["Lines"].iter_rows(min_row=2, values_only=True)
    return sum((Decimal(f"{line[-1]:.2f}") for line in lines), Decimal(0))


def total_of_json(content: bytes) -> Decimal:
    return Decimal(json.loads(content)["statement"]["total"])


TOTALS: dict[str, Callable[[bytes], Decimal]] = {
    "pdf": total_of_pdf,
    "csv": total_of_csv,
    "xlsx": total_of_xlsx,
    "json": total_of_json,
}


@pytest.mark.parametrize("months_ago", [0, 1])
def test_the_overview_is_the_sum_of_every_document(
    app: APIFlask, cast: Cast, run_jobs: RunJobs, months_ago: int
) -> None:
    today = current_calendar().today(datetime.now(UTC))
    month = Month.of(today) if months_ago == 0 else Month.of(today).previous
    customers = (cast.customer, cast.other_customer, cast.stranger)
    for number, customer in enumerate(customers):
        if months_ago:
            subscribe_for(customer.id, month)
        for place, event in enumerate(EVENTS):
            create_record(
                cast,
                user=customer,
                event=event,
                quantity=1_234_567 * (number + 1) + 98_765 * place,
                occurred_at=current_calendar().starts_at(month.first),
            )

    page = Visitor(app, cast.manager).open(f"/?month={month}")
    label = "Revenue" if months_ago else "Revenue so far"
    shown = page.figure(label).split()[0]
    overview = Decimal(shown.removeprefix("$").replace(",", ""))

    statements = [
        cast.manager.get(f"/api/v1/users/{customer.id}/statement?month={month}").get_json()
        for customer in customers
    ]
    totals = [Decimal(statement["total"]) for statement in statements]
    assert overview == sum(totals) > 100
    for statement in statements:
        of_lines = sum(Decimal(line["amount"]) for line in statement["lines"])
        assert of_lines == Decimal(statement["total"])

    for file_format, total_of in TOTALS.items():
        files = make_files(cast, month, file_format, run_jobs)
        assert [total_of(files[customer.id]) for customer in customers] == totals, file_format


def subscribe_for(user_id: int, month: Month) -> None:
    with transaction():
        subscribe(
            user_id,
            actor=SYSTEM,
            now=datetime.now(UTC),
            plan_code="standard",
            starts_on=month.first,
            ends_on=month.last,
        )


def make_files(cast: Cast, month: Month, file_format: str, run_jobs: RunJobs) -> dict[int, bytes]:
    """Ask for everybody's report as an integration does, and fetch the files by user id."""
    body: dict[str, Any] = {"user_ids": "all", "month": str(month), "format": file_format}
    asked = cast.manager.post("/api/v1/reports", json=body).get_json()
    run_jobs()
    files = {}
    for job in asked["jobs"]:
        status = cast.manager.get(f"/api/v1/reports/status/{job['jobId']}").get_json()
        assert status["status"] == "completed", status["error"]
        files[job["user_id"]] = cast.manager.get(status["fileUrl"], buffered=True).get_data()
    return files
