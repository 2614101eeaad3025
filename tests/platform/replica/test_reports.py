"""A report made from the replica says what one made from the primary would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event

from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.core.periods import Month
from billtrack.documents.reports.build import UsageReportBuilder
from billtrack.documents.reports.operations import USAGE_REPORT, request_report
from billtrack.documents.reports.queries import get_report
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar
from billtrack.platform.jobs import operations
from billtrack.platform.jobs.runner import Runner
from billtrack.platform.replica import lag
from billtrack.presentation.pdf.pdf import PdfRenderer
from tests.cast import SYSTEM, create_record
from tests.platform.replica.conftest import Site


@pytest.fixture(autouse=True)
def unheard(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the queue out of it: the test runs the job itself."""
    monkeypatch.setattr(operations, "ring", lambda job_id: None)


@pytest.fixture
def statements(site: Site) -> Iterator[list[str]]:
    """What the replica has been asked for."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    event.listen(site.replica.engine, "before_cursor_execute", note)
    yield seen
    event.remove(site.replica.engine, "before_cursor_execute", note)


def test_it_is_made_from_the_replica(site: Site, statements: list[str]) -> None:
    site.wait_for_replica()
    assert site.inside(lambda: record_and_report(site)) == "205.00"
    assert any("usage_daily" in statement for statement in statements)
    assert not any("FROM jobs" in statement for statement in statements)


def test_it_misses_nothing_that_the_replica_does_not_have_yet(
    paused: Site, statements: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lag, "CATCH_UP_SECONDS", 0.2)
    assert paused.inside(lambda: record_and_report(paused)) == "205.00"
    assert not any("usage_daily" in statement for statement in statements)


def test_it_is_made_while_the_replica_is_away(stopped: Site) -> None:
    assert stopped.inside(lambda: record_and_report(stopped)) == "205.00"


def record_and_report(site: Site) -> str:
    """Record usage, ask for a report at once, and return the total that it says."""
    create_record(site.cast, quantity=500_000)
    now = datetime.now(UTC)
    days = Month.of(current_calendar().today(now)).dates
    user = site.cast.customer.user
    with transaction():
        report = request_report(user, days, file_format="json", actor=SYSTEM, now=now)
    renderer = PdfRenderer(processes=1)
    storage, settings = (site.app.extensions[f"billtrack.{n}"] for n in ("storage", "settings"))
    builder = UsageReportBuilder(renderer=renderer, storage=storage, settings=settings)
    Runner({USAGE_REPORT: builder.build}, worker_id="w").run(report.job_id)
    renderer.close()
    made = get_report(report.job_id, reach=Reach(Breadth.ALL, 0)).report
    assert made is not None
    assert made.path is not None
    with storage.open(made.path) as file:
        return str(json.load(file)["statement"]["total"])
