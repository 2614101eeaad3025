"""Ask for reports, let time pass for their jobs, and look at what became of them."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from pypdf import PdfReader
from sqlalchemy import select

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Role
from billtrack.accounts.users.queries import find_user_by_email
from billtrack.core.periods import DateRange
from billtrack.documents.reports.models import Report
from billtrack.documents.reports.operations import request_report
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.usage.ingest.intake import submit
from billtrack.usage.records.submissions import UsageInput
from tests.cast import SYSTEM, Member, create_user, terms
from tests.scenarios.harness import PATIENCE, Installation, Running, eventually


def create_busy_customer(installation: Installation) -> None:
    """Create a customer with a year of usage, whose report takes a while to make."""
    with installation.inside():
        user = create_user(email="busy@test.example")
        provider = create_user(role=Role.PROVIDER, email="provider@test.example")
        now = datetime.now(UTC)
        inputs = [
            UsageInput(user.id, event, 1000 + day, now - timedelta(days=day))
            for day in range(365)
            for event in ("api_calls", "vm_uptime", "cpu_time", "data_storage")
        ]
        submit(inputs, terms=terms(Member(provider, "")))


def request_reports(installation: Installation, count: int, *, days: int = 365) -> list[int]:
    """Queue reports about the busy customer and return their job ids."""
    with installation.inside():
        user = find_user_by_email("busy@test.example")
        assert isinstance(user, User)
        now = datetime.now(UTC)
        period = DateRange(now.date() - timedelta(days=days - 1), now.date())
        return [_request(user, period, now) for _ in range(count)]


def _request(user: User, period: DateRange, now: datetime) -> int:
    with transaction():
        report = request_report(user, period, file_format="pdf", actor=SYSTEM, now=now)
    return report.job_id


def statuses(installation: Installation) -> list[str]:
    """Return the status of every job, in order of their ids."""
    with installation.inside():
        return list(db.session.scalars(select(Job.status).order_by(Job.id)))


def attempts(installation: Installation) -> list[int]:
    with installation.inside():
        return list(db.session.scalars(select(Job.attempt).order_by(Job.id)))


def progress(installation: Installation) -> list[int]:
    with installation.inside():
        return list(db.session.scalars(select(Job.progress).order_by(Job.id)))


def let_leases_run_out(
    installation: Installation, *, started_before: datetime | None = None
) -> None:
    """Let the 30 seconds of a lease pass for what runs, and was started before this instant."""
    running = select(Job).where(Job.status == "running")
    if started_before is not None:
        running = running.where(Job.started_at < started_before)
    with installation.inside(), transaction() as session:
        for job in session.scalars(running):
            assert job.lease_expires_at is not None
            job.lease_expires_at -= timedelta(seconds=60)


def let_the_ring_die_away(installation: Installation) -> None:
    """Let the minute pass after which the sweep rings again for what nobody took."""
    with installation.inside(), transaction() as session:
        for job in session.scalars(select(Job).where(Job.status == "queued")):
            job.rung_at -= timedelta(seconds=90)


def wait_for_all(installation: Installation, worker: Running, *, seconds: float = PATIENCE) -> None:
    eventually(
        lambda: set(statuses(installation)) == {"completed"},
        lambda: f"{statuses(installation)}\n{worker.text}",
        seconds=seconds,
    )


def assert_files_are_whole(installation: Installation) -> None:
    """Every completed report has exactly one file, as stored; nothing else lies about."""
    root = installation.folder / "reports"
    with installation.inside():
        reports = db.session.scalars(select(Report)).all()
    for report in reports:
        assert report.path is not None
        content = (root / report.path).read_bytes()
        assert len(content) == report.size
        assert hashlib.sha256(content).hexdigest() == report.sha256
        if report.format == "pdf":
            first = PdfReader(root / report.path).pages[0]
            assert f"Report {report.job_id}" in first.extract_text()
    kept = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert kept == {report.path for report in reports}
