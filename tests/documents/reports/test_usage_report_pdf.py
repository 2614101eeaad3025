"""The PDF of a usage report, made as a worker makes it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from pypdf import PdfReader
from pypdf.generic import IndirectObject
from sqlalchemy import select

from billtrack.accounts.users.models import User
from billtrack.core.periods import DateRange
from billtrack.documents.reports.build import UsageReportBuilder
from billtrack.documents.reports.models import Report
from billtrack.documents.reports.operations import USAGE_REPORT, request_report
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.runner import Runner
from billtrack.platform.storage.local import LocalStorage
from billtrack.presentation.pdf import pdf
from billtrack.presentation.pdf.pdf import PdfRenderer
from billtrack.usage.ingest.intake import submit
from billtrack.usage.records.submissions import UsageInput
from tests.cast import SYSTEM, Cast, create_record, create_user, terms

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)

Make = Callable[..., "Made"]


@dataclass(frozen=True)
class Made:
    """A job that ran, with its file."""

    job: Job
    report: Report
    root: Path

    @property
    def path(self) -> Path:
        assert self.job.status == "completed", self.job.error
        assert self.report.path is not None
        return self.root / self.report.path

    @property
    def document(self) -> PdfReader:
        return PdfReader(self.path)

    @property
    def text(self) -> str:
        """All that can be read in it, with every run of white space as one blank."""
        return " ".join(" ".join(page.extract_text() for page in self.document.pages).split())


@pytest.fixture(scope="module")
def renderer() -> Iterator[PdfRenderer]:
    renderer = PdfRenderer(processes=2)
    renderer.warm_up()
    yield renderer
    renderer.close()


@pytest.fixture
def run(app: APIFlask, settings: Settings, renderer: PdfRenderer) -> Callable[[int], Made]:
    """Run a job as a worker does."""
    root = settings.data_dir / "reports"
    builder = UsageReportBuilder(renderer=renderer, storage=LocalStorage(root), settings=settings)
    runner = Runner({USAGE_REPORT: builder.build}, worker_id="test")

    def run(job_id: int) -> Made:
        runner.run(job_id)
        db.session.rollback()
        job = db.session.get_one(Job, job_id, populate_existing=True)
        query = select(Report).where(Report.job_id == job_id)
        report = db.session.scalars(query.execution_options(populate_existing=True)).one()
        return Made(job, report, root)

    return run


@pytest.fixture
def make(run: Callable[[int], Made]) -> Make:
    """Ask for a report and make it."""

    def make(user: User, first: date, last: date | None = None) -> Made:
        last = last or (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        with transaction():
            report = request_report(
                user,
                DateRange(first, last),
                file_format="pdf",
                actor=SYSTEM,
                now=datetime.now(UTC),
            )
        return run(report.job_id)

    return make


def month_ago() -> date:
    return (datetime.now(UTC).date().replace(day=1) - timedelta(days=1)).replace(day=1)


def on(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


def queue_again(job: Job) -> None:
    """Put a job back as the sweep does after its worker has died."""
    with transaction() as session:
        again = session.get_one(Job, job.id)
        again.status, again.finished_at = "queued", None


def fonts(document: PdfReader) -> dict[str, bool]:
    """Return whether each font that any page or drawing uses is embedded."""
    found: dict[str, bool] = {}

    def visit(resources: Any) -> None:
        if resources is None:
            return
        for reference in resources.get("/Font", {}).values():
            font = reference.get_object()
            for inner in font.get("/DescendantFonts", [font]):
                descriptor = inner.get_object().get("/FontDescriptor", {})
                keys = ("/FontFile", "/FontFile2", "/FontFile3")
                found[font["/BaseFont"]] = any(key in descriptor for key in keys)
        for reference in resources.get("/XObject", {}).values():
            visit(reference.get_object().get("/Resources"))

    for page in document.pages:
        resources = page["/Resources"]
        visit(resources.get_object() if isinstance(resources, IndirectObject) else resources)
    return found


def test_it_says_who_when_how_much_and_how_it_is_reckoned(cast: Cast, make: Make) -> None:
    first = month_ago()
    create_record(cast, quantity=500_000, occurred_at=on(first))
    made = make(cast.customer.user, first)
    text = made.text
    for words in (
        cast.customer.user.name,
        cast.customer.user.email,
        f"Report {made.job.id}",
        "500,000",
        f"{first:%B %Y}",
    ):
        assert words in text


def test_500_000_calls_cost_205(cast: Cast, make: Make) -> None:
    today = datetime.now(UTC).date()
    create_record(cast, quantity=500_000)
    text = make(cast.customer.user, today.replace(day=1)).text
    assert "205.00" in text
    assert "45.00" in text
    assert "160.00" in text


def test_it_is_accessible_and_carries_its_fonts(cast: Cast, make: Make) -> None:
    create_record(cast, quantity=500_000)
    made = make(cast.customer.user, datetime.now(UTC).date().replace(day=1))
    root: Any = made.document.trailer["/Root"]
    assert root["/Lang"] == "en"
    assert root["/MarkInfo"]["/Marked"]
    assert "/StructTreeRoot" in root
    assert made.document.metadata is not None
    title = made.document.metadata.title
    assert title is not None
    assert cast.customer.user.name in title
    embedded = fonts(made.document)
    assert embedded
    assert all(embedded.values()), embedded
    numbered = [re.search(r"(\d+) of (\d+)", page.extract_text()) for page in made.document.pages]
    count = len(made.document.pages)
    assert [m.groups() for m in numbered if m] == [(str(n + 1), str(count)) for n in range(count)]


def test_the_same_job_gives_the_same_bytes(
    cast: Cast, make: Make, run: Callable[[int], Made]
) -> None:
    for quantity in (500_000, 7):
        create_record(cast, quantity=quantity)
    made = make(cast.customer.user, datetime.now(UTC).date().replace(day=1))
    first, digest = made.path.read_bytes(), made.report.sha256
    for attempt in (2, 3):
        queue_again(made.job)
        again = run(made.job.id)
        assert again.job.attempt == attempt
        assert again.path.read_bytes() == first
        assert again.report.sha256 == digest


def test_a_later_attempt_clears_away_what_earlier_ones_left(
    cast: Cast, make: Make, run: Callable[[int], Made]
) -> None:
    made = make(cast.customer.user, month_ago())
    (made.path.parent / ".0123456789abcdef.part").write_bytes(b"cut short")
    queue_again(made.job)
    again = run(made.job.id)
    assert [p for p in made.root.rglob("*") if p.is_file()] == [again.path]


def test_it_says_that_nothing_was_used(cast: Cast, make: Make) -> None:
    text = make(cast.customer.user, month_ago()).text
    assert "No usage was recorded" in text


def test_it_shows_a_single_record(cast: Cast, make: Make) -> None:
    create_record(cast, quantity=1, event="vm_uptime")
    assert "0.00" in make(cast.customer.user, datetime.now(UTC).date().replace(day=1)).text


def test_it_shows_a_year_by_days(cast: Cast, make: Make) -> None:
    today = datetime.now(UTC).date()
    for days in (0, 100, 364):
        create_record(cast, quantity=1234 + days, occurred_at=on(today - timedelta(days=days + 1)))
    made = make(cast.customer.user, today - timedelta(days=365), today)
    for quantity in ("1,234", "1,334", "1,598"):
        assert quantity in made.text
    assert len(made.document.pages) < 12


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "=cmd|' /C calc'!A0",
        "{{ 7 * 7 }} &amp; <b>bold</b>",
        '"><img src="http://127.0.0.1:1/x.png">',
    ],
)
def test_a_name_is_shown_as_it_was_written(cast: Cast, make: Make, name: str) -> None:
    with transaction() as session:
        user = session.get_one(User, cast.customer.id)
        user.name = name
    text = make(user, month_ago()).text
    assert "".join(name.split()) in "".join(text.split())  # a long one is broken into lines


@pytest.mark.parametrize(
    "name", ["山田 太郎 株式会社", "שלום עולם בע״מ", "شركة الاختبار", "Zoë 🚀 Ltd", "W" * 100]
)
def test_any_name_can_be_set(app: APIFlask, make: Make, name: str) -> None:
    user = create_user(email=f"{'long' * 15}@{'x' * 60}.example")
    with transaction() as session:
        user = session.get_one(User, user.id)
        user.name = name
    made = make(user, month_ago())
    assert made.document.metadata is not None
    assert name in (made.document.metadata.title or "")
    assert all(fonts(made.document).values())
    box = made.document.pages[0].mediabox
    assert (round(float(box.width)), round(float(box.height))) == (595, 842)


def test_it_fails_naming_the_command_when_libraries_are_missing(
    cast: Cast, run: Callable[[int], Made], make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Asks the system for real, for a library that no system has.
    monkeypatch.setitem(pdf.LIBRARIES, "billtrack-nowhere-1.0", "libbilltrack-nowhere-1.0-0")
    job = make(cast.customer.user, month_ago()).job
    assert (job.status, job.attempt) == ("failed", 1)
    assert job.error == ("PDFs need system packages: apt-get install libbilltrack-nowhere-1.0-0")


def test_it_fails_with_advice_when_rendering_takes_too_long(
    cast: Cast, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = datetime.now(UTC).date()
    # A second of work: the pool looks at its limits only several times a second.
    submit(
        [
            UsageInput(cast.customer.id, event, 1000 + n, on(today - timedelta(days=n)))
            for n in range(1, 365)
            for event in ("api_calls", "vm_uptime", "cpu_time", "data_storage")
        ],
        terms=terms(cast.provider),
    )
    monkeypatch.setattr(pdf, "TIME_LIMIT", 0.05)
    job = make(cast.customer.user, today - timedelta(days=365), today).job
    assert job.status == "failed"
    assert "Choose a shorter period" in str(job.error)
