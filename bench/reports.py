"""`python -m bench.reports`: how quickly PDF reports are made.

Warm renderings, from request to file, and reports a minute of one `billtrack worker` with two
threads. With BENCH_PEER_URL, another service that makes monthly reports (`POST
/api/v1/reports/1?month=` and `GET /api/v1/reports/status/:id` with `state`, `enq`, `done` in
milliseconds) is measured in turn with it; BENCH_PEER_MONTH is the month that it has usage in.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from pypdf import PdfReader
from sqlalchemy import select

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Role
from billtrack.billing.plans import standard
from billtrack.billing.plans.operations import subscribe
from billtrack.core.periods import DateRange, Month
from billtrack.documents.reports.catalog import read_usage_report
from billtrack.documents.reports.models import Report
from billtrack.documents.reports.operations import request_report
from billtrack.documents.reports.page import report_page
from billtrack.entrypoints.setup.initialise import initialise
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.presentation.pdf.pdf import PdfRenderer
from billtrack.usage.ingest.intake import submit
from billtrack.usage.records.submissions import UsageInput
from tests.cast import SYSTEM, Member, create_user, terms
from tests.scenarios.harness import Installation

ROUNDS = 5
REPORTS = 120
"""Asked for at once in each round: enough that waking up counts for little."""

PATIENCE = 300
"""Seconds to wait for a round."""

USUAL = {"api_calls": 40_000, "vm_uptime": 90_000, "cpu_time": 30_000, "data_storage": 2_400}


def main() -> None:
    """Measure and print."""
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} · {os.cpu_count()} CPUs · load {_load()}")
    with tempfile.TemporaryDirectory() as folder:
        place = Installation(Path(folder), BILLTRACK_WORKERS="2")
        with place.inside():
            initialise(place.settings, now=datetime.now(UTC))
            once, busy = _create_customers()
            _print_renderings(place, once, busy)
        with place.start("worker") as worker:
            worker.wait_for("worker_started")
            with place.inside():
                _print_requests(busy)
                _print_rates(busy)
    print(f"load {_load()}")


def _load() -> str:
    return ", ".join(f"{one:.1f}" for one in os.getloadavg())


def _create_customers() -> tuple[User, User]:
    """Return a customer with one record and one with a year of daily usage of everything."""
    provider = terms(Member(create_user(role=Role.PROVIDER, email="provider@bench.example"), ""))
    once, busy = (create_user(email=f"{name}@bench.example") for name in ("once", "busy"))
    for user in (once, busy):
        _subscribe_before(_this_month(), user)
    records = [UsageInput(once.id, "vm_uptime", 1, _midnight(_last_month().last), None)]
    records += [
        UsageInput(busy.id, event, usual - 7 * number, _midnight(day), None)
        for number, day in enumerate(_last_year())
        for event, usual in USUAL.items()
    ]
    submit(records, terms=provider)
    return once, busy


def _subscribe_before(month: Month, user: User) -> None:
    """Put the user on the standard plan for the two years before the month of its account."""
    years: dict[str, Any] = {
        "starts_on": month.first.replace(year=month.first.year - 2),
        "ends_on": month.first - timedelta(days=1),
    }
    with transaction():
        subscribe(user.id, actor=SYSTEM, now=datetime.now(UTC), plan_code=standard.CODE, **years)


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _this_month() -> Month:
    return Month.of(datetime.now(UTC).date())


def _last_month() -> DateRange:
    return Month.of(_this_month().first - timedelta(days=1)).dates


def _last_year() -> DateRange:
    today = datetime.now(UTC).date()
    return DateRange(today - timedelta(days=364), today)


def _print_renderings(place: Installation, once: User, busy: User) -> None:
    """Print what is between handing over a page and having its PDF."""
    renderer = PdfRenderer(processes=1)
    asked = [("one page", once, _last_month()), ("a month", busy, _last_month())]
    try:
        for name, user, days in [*asked, ("a year by days", busy, _last_year())]:
            html = _page(place, user, days)
            render = partial(renderer.render, html, identifier="bench")
            pages = len(PdfReader(BytesIO(render())).pages)
            _print_times(f"warm rendering, {name}: {pages} pages", _times(render, 2 * ROUNDS))
    finally:
        renderer.close()


def _page(place: Installation, user: User, days: DateRange) -> str:
    asked: dict[str, Any] = {"user_id": user.id, "first_on": days.first, "last_on": days.last}
    report = Report(job_id=1, format="pdf", requested_at=datetime.now(UTC), **asked)
    return report_page(read_usage_report(report, user, place.settings))


def _print_requests(user: User) -> None:
    make = partial(_make_reports, user, 1)
    make()
    _print_times("request to file, a month", [make() for _ in range(2 * ROUNDS)])


def _print_rates(user: User) -> None:
    """Print the medians of rounds in turn: a machine that slows down slows both."""
    peer = os.environ.get("BENCH_PEER_URL", "").rstrip("/")
    ours, theirs = [], []
    if peer:
        _make_at_peer(peer, REPORTS)
    for _ in range(ROUNDS):
        ours.append(60 * REPORTS / _make_reports(user, REPORTS))
        if peer:
            theirs.append(60 * REPORTS / _make_at_peer(peer, REPORTS))
    _print_rates_of("reports a minute, a month each", ours)
    if peer:
        _print_rates_of("reports a minute of the peer", theirs)
        ratio = statistics.median(ours) / statistics.median(theirs)
        pairs = ", ".join(f"{one / other:.2f}" for one, other in zip(ours, theirs, strict=True))
        print(f"{'times the peer':<44}{ratio:>10.2f}     (rounds {pairs})")


def _make_reports(user: User, count: int) -> float:
    """Ask for reports of a month and return the seconds until the last one was finished."""
    now, job_ids = datetime.now(UTC), []
    for _ in range(count):
        with transaction():
            asked: dict[str, Any] = {"file_format": "pdf", "actor": SYSTEM, "now": now}
            job_ids.append(request_report(user, _last_month(), **asked).job_id)
    jobs = _wait_for(partial(_finished, job_ids))
    assert all(job.status == "completed" for job in jobs)
    finished_at: datetime = max(job.finished_at for job in jobs)
    return (finished_at - now).total_seconds()


def _finished(job_ids: Sequence[int]) -> Sequence[Job] | None:
    """Return the jobs once all have ended; looks at little, for it looks while they run."""
    db.session.rollback()
    is_open = (Job.id >= min(job_ids), Job.finished_at.is_(None))
    if db.session.scalar(select(Job.id).where(*is_open).limit(1)) is not None:
        return None
    jobs = db.session.scalars(select(Job).where(Job.id.in_(job_ids))).all()
    return jobs if all(job.finished_at for job in jobs) else None


def _make_at_peer(url: str, count: int) -> float:
    month = os.environ.get("BENCH_PEER_MONTH", "2025-06")
    path = f"{url}/api/v1/reports"
    ids = [_ask(f"{path}/1?month={month}", "POST")["jobId"] for _ in range(count)]
    jobs = _wait_for(partial(_finished_at_peer, path, ids))
    return float(max(job["done"] for job in jobs) - min(job["enq"] for job in jobs)) / 1000


def _finished_at_peer(path: str, ids: Sequence[str]) -> list[dict[str, Any]] | None:
    last = _ask(f"{path}/status/{ids[-1]}", "GET")
    if not last.get("done"):
        return None
    jobs = [_ask(f"{path}/status/{one}", "GET") for one in ids]
    assert all(job["state"] in {"completed", "active"} for job in jobs), jobs
    return jobs if all(job.get("done") for job in jobs) else None


def _ask(url: str, method: str) -> Any:
    with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=60) as answer:
        return json.load(answer)


def _wait_for(find: Callable[[], Sequence[Any] | None]) -> Sequence[Any]:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := find():
            return found
        time.sleep(0.05)
    raise TimeoutError(f"not done within {PATIENCE} seconds")


def _times(run: Callable[[], object], rounds: int) -> list[float]:
    taken = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        taken.append(time.perf_counter() - started)
    return taken


def _print_times(name: str, taken: Sequence[float]) -> None:
    middle, best, worst = (1000 * pick(taken) for pick in (statistics.median, min, max))
    print(f"{name:<44}{middle:>10.0f} ms  ({best:.0f} to {worst:.0f})")


def _print_rates_of(name: str, rates: Sequence[float]) -> None:
    rounds = ", ".join(f"{rate:.0f}" for rate in rates)
    print(f"{name:<44}{statistics.median(rates):>10.0f}     (rounds {rounds})")


if __name__ == "__main__":
    main()
