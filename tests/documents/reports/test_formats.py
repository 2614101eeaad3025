"""PDF, CSV, XLSX and JSON of one report hold the same figures, to the cent."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import openpyxl
import pytest
from apiflask import APIFlask
from pypdf import PdfReader

from billtrack.accounts.users.models import User
from billtrack.core.periods import Month
from billtrack.documents.reports.build import UsageReportBuilder
from billtrack.documents.reports.catalog import read_usage_report
from billtrack.documents.reports.models import Report
from billtrack.documents.reports.operations import FORMATS, USAGE_REPORT, request_report
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, current_settings, db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.runner import Runner
from billtrack.presentation.filters import money
from billtrack.presentation.pdf.pdf import PdfRenderer
from tests.cast import SYSTEM, Cast, create_record, create_user

pytestmark = pytest.mark.one_database

Files = Callable[[User], dict[str, bytes]]


@pytest.fixture(scope="module")
def renderer() -> Iterator[PdfRenderer]:
    renderer = PdfRenderer(processes=1)
    yield renderer
    renderer.close()


@pytest.fixture
def files(app: APIFlask, renderer: PdfRenderer) -> Files:
    """Make the report of this month in every format."""
    storage = app.extensions["billtrack.storage"]
    builder = UsageReportBuilder(renderer=renderer, storage=storage, settings=current_settings())
    runner = Runner({USAGE_REPORT: builder.build}, worker_id="test")

    def make(user: User) -> dict[str, bytes]:
        now = datetime.now(UTC)
        days = Month.of(current_calendar().today(now)).dates
        made = {}
        for file_format in FORMATS:
            with transaction():
                asked: dict[str, Any] = {"file_format": file_format, "actor": SYSTEM, "now": now}
                job_id = request_report(user, days, **asked).job_id
            with app.app_context():  # a worker has no request whose account it could know
                runner.run(job_id)
            db.session.rollback()
            job = db.session.get_one(Job, job_id)
            assert job.status == "completed", job.error
            path = db.session.query(Report).filter_by(job_id=job_id).one().path
            with storage.open(path) as file:
                made[file_format] = file.read()
        return made

    return make


def use_everything(cast: Cast) -> None:
    for event, quantity in (
        ("api_calls", 1_234_567),
        ("vm_uptime", 2_700_001),
        ("cpu_time", 361_234),
        ("data_storage", 99_999),
    ):
        create_record(cast, event=event, quantity=quantity)


def test_it_says_the_same_in_every_format(cast: Cast, files: Files) -> None:
    use_everything(cast)
    statement = cast.customer.get(f"/api/v1/users/{cast.customer.id}/statement").get_json()
    made = files(cast.customer.user)

    amounts = [line["amount"] for line in statement["lines"]]
    as_json = json.loads(made["json"])
    assert as_json["statement"]["lines"] == statement["lines"]
    assert as_json["statement"]["total"] == statement["total"]
    assert sum(Decimal(day["amount"]) for day in as_json["days"]) == Decimal(statement["total"])

    rows = list(csv.DictReader(io.StringIO(made["csv"].decode("utf-8-sig"))))
    assert [row["amount"] for row in rows if row["section"] == "line"] == amounts
    assert [row["amount"] for row in rows if row["section"] == "total"] == [statement["total"]]
    of_days = sum(Decimal(row["amount"]) for row in rows if row["section"] == "day")
    assert of_days == Decimal(statement["total"])

    book = openpyxl.load_workbook(io.BytesIO(made["xlsx"]))
    lines = list(book["Lines"].iter_rows(min_row=2, values_only=True))
    assert [f"{line[-1]:.2f}" for line in lines] == amounts
    of_days = sum(Decimal(f"{row[-1]:.2f}") for row in book["Days"].iter_rows(2, values_only=True))
    assert of_days == Decimal(statement["total"])
    assert book["Lines"].freeze_panes == "A2"
    assert isinstance(lines[0][1], datetime)

    text = "".join(page.extract_text() for page in PdfReader(io.BytesIO(made["pdf"])).pages)
    minor = int(Decimal(statement["total"]) * 100)
    assert money(minor, "USD") in text
    for amount in amounts:
        assert amount in text.replace(",", "")


def test_it_makes_the_same_bytes_again(app: APIFlask, cast: Cast, renderer: PdfRenderer) -> None:
    use_everything(cast)
    settings = current_settings()
    storage = app.extensions["billtrack.storage"]
    builder = UsageReportBuilder(renderer=renderer, storage=storage, settings=settings)
    now = datetime.now(UTC)
    days = Month.of(current_calendar().today(now)).dates
    with transaction():
        asked: dict[str, Any] = {"file_format": "pdf", "actor": SYSTEM, "now": now}
        report = request_report(cast.customer.user, days, **asked)
    for file_format in FORMATS:
        first, second = (
            builder._maker(file_format, read_usage_report(report, cast.customer.user, settings))()
            for _ in range(2)
        )
        assert first == second, file_format


@pytest.mark.parametrize("name", ["=cmd()", "@SUM(A1)", "-2+3", "<script>alert(1)</script>"])
def test_it_shows_a_name_that_looks_like_code_as_text(cast: Cast, files: Files, name: str) -> None:
    user = create_user(email="odd@test.example")
    with transaction():
        db.session.get_one(User, user.id).name = name
    made = files(db.session.get_one(User, user.id))
    rows = list(csv.DictReader(io.StringIO(made["csv"].decode("utf-8-sig"))))
    assert rows[0]["customer"] == (name if name.startswith("<") else f"'{name}")
    cell = openpyxl.load_workbook(io.BytesIO(made["xlsx"]))["Summary"]["B2"]
    assert (cell.value, cell.data_type) == (name, "s")
    assert json.loads(made["json"])["customer"]["name"] == name
    text = PdfReader(io.BytesIO(made["pdf"])).pages[0].extract_text()
    assert name in text
