"""Resetting a demo installation: a new database, unless anything real is in it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import func, inspect, select
from sqlalchemy.exc import DBAPIError

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.accounts.users.queries import find_user_by_email
from billtrack.core.periods import Month
from billtrack.documents.reports.models import Report
from billtrack.documents.reports.operations import request_report
from billtrack.entrypoints.setup.demo import load_demo
from billtrack.entrypoints.setup.demo_reset import DemoInUse, drop_demo
from billtrack.entrypoints.setup.initialise import initialise
from billtrack.platform import audit
from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.audit.verification import verify
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db, metadata
from billtrack.platform.jobs.operations import claim, mark_completed
from billtrack.platform.storage.object_storage import StorageUnavailable
from billtrack.platform.storage.storage import Storage
from billtrack.usage.ingest.intake import submit_one
from billtrack.usage.ingest.reversing import reverse
from billtrack.usage.records.submissions import Terms, UsageInput
from tests.cast import create_user
from tests.schema import schema_of

MANAGER, COLLECTOR, CUSTOMER = (
    "manager@billtrack.example",
    "collector@billtrack.example",
    "ops@kiln.example",
)


@pytest.fixture
def demo(app: APIFlask, settings: Settings, now: datetime) -> Settings:
    """The newest days of the demo, in an installation of its own."""
    short = settings.model_copy(update={"backfill_days": 3})
    load_demo(short, now=now)
    return short


@pytest.fixture
def files(app: APIFlask) -> Storage:
    found: Storage = app.extensions["billtrack.storage"]
    return found


def account(email: str) -> User:
    found = find_user_by_email(email)
    assert found is not None
    return found


def counts() -> dict[str, int]:
    db.session.rollback()
    return {
        table.name: db.session.scalar(select(func.count()).select_from(table)) or 0
        for table in metadata.sorted_tables
    }


def use(now: datetime) -> None:
    by, of = account(COLLECTOR), account(CUSTOMER)
    terms = Terms(by.id, now=now, calendar=current_calendar(), backfill_days=30)
    item = UsageInput(of.id, "api_calls", 1000, now, "tried by hand")
    record, _ = submit_one(item, terms=terms)
    reach, actor = Reach(Breadth.ALL, 0), audit.Actor(user_id=by.id)
    reverse(record.id, reason="a test", reach=reach, actor=actor, terms=terms)


def ask_report(now: datetime) -> Report:
    with transaction():
        actor = audit.Actor(user_id=account(MANAGER).id, address="192.0.2.1")
        asked: dict[str, Any] = {"file_format": "csv", "actor": actor, "now": now}
        days = Month.of(current_calendar().today(now)).dates
        return request_report(account(CUSTOMER), days, **asked)


def finish(report: Report, files: Storage, now: datetime) -> None:
    stored = files.put(f"{report.job_id}/1/x.csv", b"figures")
    with transaction():
        claim(report.job_id, worker_id="test", now=now)
        mark_completed(report.job_id, 1, now=now)
        db.session.get_one(Report, report.id).path = stored.path


def test_it_makes_the_database_new(
    app: APIFlask, demo: Settings, files: Storage, now: datetime
) -> None:
    fresh, schema = counts(), schema_of(app)
    use(now)
    finish(ask_report(now), files, now)
    assert counts() != fresh
    drop_demo(demo, files, now=now)
    assert inspect(db.engine).get_table_names() == []
    assert list(files.list_paths()) == []
    later = now + timedelta(minutes=1)
    initialise(demo, now=later)
    assert schema_of(app) == schema
    assert db.session.scalars(select(func.count()).select_from(User)).one() == 0
    load_demo(demo, now=later)
    assert counts() == fresh
    assert verify().entries == fresh["audit_entries"]


def test_its_audit_entries_go_with_it(demo: Settings, files: Storage, now: datetime) -> None:
    ask_report(now)
    drop_demo(demo, files, now=now)
    initialise(demo, now=now)
    assert set(db.session.scalars(select(AuditEntry.actor_user_id))) == {None}


def open_account(now: datetime) -> str:
    create_user(email="real@test.example")
    return "account real@test.example is not of the demo"


def take_over(now: datetime) -> str:
    with transaction():
        account(CUSTOMER).email = "me@real.example"
    return "account me@real.example is not of the demo"


def run_report(now: datetime) -> str:
    job_id = ask_report(now).job_id
    with transaction():
        claim(job_id, worker_id="test", now=now)
    return f"job {job_id} is running"


@pytest.mark.parametrize("touch", [open_account, take_over, run_report])
def test_it_removes_nothing_if_anything_real_is_there(
    demo: Settings, files: Storage, now: datetime, touch: Callable[[datetime], str]
) -> None:
    finish(ask_report(now), files, now)
    told, before, kept = touch(now), counts(), list(files.list_paths())
    with pytest.raises(DemoInUse, match=told):
        drop_demo(demo, files, now=now)
    assert counts() == before
    assert list(files.list_paths()) == kept != []


def test_an_erased_account_of_the_demo_is_no_real_one(
    demo: Settings, files: Storage, now: datetime
) -> None:
    with transaction():
        erased = account(CUSTOMER)
        erased.email, erased.erased_at = "erased-1@erased.invalid", now
    drop_demo(demo, files, now=now)
    assert inspect(db.engine).get_table_names() == []


def test_it_leaves_files_that_are_not_of_this_database(
    demo: Settings, files: Storage, now: datetime
) -> None:
    finish(ask_report(now), files, now)
    files.put("987654/1/other.pdf", b"of another installation")
    drop_demo(demo, files, now=now)
    assert list(files.list_paths()) == ["987654/1/other.pdf"]


def test_it_removes_nothing_when_the_files_cannot_go(
    demo: Settings, files: Storage, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(ask_report(now), files, now)
    before = counts()

    def refuse(folder: str) -> None:
        raise StorageUnavailable("away")

    monkeypatch.setattr(files, "remove", refuse)
    with pytest.raises(StorageUnavailable):
        drop_demo(demo, files, now=now)
    assert counts() == before


def test_nobody_opens_an_account_between_the_check_and_the_drop(
    app: APIFlask,
    demo: Settings,
    files: Storage,
    now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    finish(ask_report(now), files, now)
    remove = files.remove

    def open_account() -> None:
        with app.app_context():
            create_user(email="real@test.example")

    with ThreadPoolExecutor(1) as other:
        opened: list[Future[None]] = []

        def remove_slowly(folder: str) -> None:
            opened.append(other.submit(open_account))
            assert wait(opened, timeout=1).not_done, "an account was opened after the check"
            remove(folder)

        monkeypatch.setattr(files, "remove", remove_slowly)
        drop_demo(demo, files, now=now)
        with pytest.raises(DBAPIError):
            opened[0].result()
    assert inspect(db.engine).get_table_names() == []
