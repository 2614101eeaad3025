"""Taking the demo away: all that is its own, nothing of anybody else."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import func, insert, select

from billtrack.accounts.credentials import tokens
from billtrack.accounts.credentials.api_keys import create_api_key
from billtrack.accounts.lifecycle import deactivate_user
from billtrack.accounts.sign_in.pending_sign_ins import begin_sign_in
from billtrack.accounts.sign_in.recovery_codes import make_recovery_codes
from billtrack.accounts.sign_in.sessions import start_session
from billtrack.accounts.users.models import User
from billtrack.accounts.users.operations import update_user
from billtrack.accounts.users.permissions import Breadth, Reach, Role
from billtrack.accounts.users.queries import find_user_by_email
from billtrack.billing.customers import open_account
from billtrack.billing.plans.operations import create_plan
from billtrack.core.periods import Month
from billtrack.documents.reports.models import Report
from billtrack.documents.reports.operations import request_report
from billtrack.entrypoints.setup.demo import load_demo
from billtrack.entrypoints.setup.demo_reset import DemoInUse, remove_demo
from billtrack.notifications import mail
from billtrack.notifications.mail.operations import Recipient
from billtrack.platform import audit
from billtrack.platform.audit.models import AuditPersonalValue
from billtrack.platform.audit.verification import verify
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db, metadata
from billtrack.platform.installation.queries import find_installation
from billtrack.platform.jobs.operations import claim, mark_completed
from billtrack.platform.storage.object_storage import StorageUnavailable
from billtrack.platform.storage.storage import DocumentGone, Storage
from billtrack.usage.imports.models import RefusedLine
from billtrack.usage.imports.operations import request_import, store_file
from billtrack.usage.ingest.intake import submit_one
from billtrack.usage.ingest.reversing import reverse
from billtrack.usage.records.submissions import Terms, UsageInput
from tests.cast import Cast, create_record, create_user

EVERYTHING = Reach(Breadth.ALL, 0)
LOG = {"audit_entries", "audit_personal_values", "audit_head"}
ADMIN, MANAGER = "admin@billtrack.example", "manager@billtrack.example"
COLLECTOR, CUSTOMER = "collector@billtrack.example", "ops@kiln.example"


@pytest.fixture
def demo(app: APIFlask, settings: Settings, cast: Cast, now: datetime) -> Settings:
    """The newest days of the demo, beside real accounts."""
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


def use(by: User, of: User, now: datetime) -> None:
    terms = Terms(by.id, now=now, calendar=current_calendar(), backfill_days=30)
    item = UsageInput(of.id, "api_calls", 1000, now, "tried by hand")
    record, _ = submit_one(item, terms=terms)
    actor = audit.Actor(user_id=by.id)
    reverse(record.id, reason="a test", reach=EVERYTHING, actor=actor, terms=terms)


def ask_report(by: User, about: User, now: datetime) -> Report:
    with transaction():
        actor = audit.Actor(user_id=by.id, address="192.0.2.1")
        asked: dict[str, Any] = {"file_format": "csv", "actor": actor, "now": now}
        return request_report(about, Month.of(current_calendar().today(now)).dates, **asked)


def import_file(by: User, files: Storage, now: datetime) -> str:
    file = store_file(files, b"user_id\n")
    with transaction():
        actor = audit.Actor(user_id=by.id)
        asked: dict[str, Any] = {"recorded_by_id": by.id, "actor": actor, "now": now}
        wanted = request_import(file, filename="x.csv", is_dry_run=False, **asked)
        line = {"number": 2, "cells": ["x"], "code": "invalid", "reason": "r"}
        db.session.execute(insert(RefusedLine).values(import_id=wanted.id, **line))
    return file.path


def write_to(user: User, now: datetime) -> None:
    to = Recipient(user.id, user.email, user.name)
    mail.queue("password_reset", actor=audit.Actor(), now=now, to=to, context={})


def finish(report: Report, files: Storage, now: datetime) -> str:
    stored = files.put(f"{report.job_id}/1/x.csv", b"figures")
    with transaction():
        claim(report.job_id, worker_id="test", now=now)
        mark_completed(report.job_id, 1, now=now)
        db.session.get_one(Report, report.id).path = stored.path
    return stored.path


def test_it_takes_away_what_was_done_in_the_demo_and_leaves_the_rest(
    demo: Settings, cast: Cast, files: Storage, now: datetime
) -> None:
    loaded = counts()
    manager = account(MANAGER)
    with transaction():
        given: dict[str, Any] = {"address": "192.0.2.1", "user_agent": "x", "now": now}
        start_session(manager, **given)
        tokens.start_family(manager, **given)
        begin_sign_in(manager.id, now=now)
        make_recovery_codes(manager.id, now=now)
        create_api_key(account(COLLECTOR), actor=audit.Actor(), now=now, name="x", scopes=None)
        write_to(account(CUSTOMER), now)
    use(account(ADMIN), account(CUSTOMER), now)
    demo_path = finish(ask_report(account(MANAGER), account(CUSTOMER), now), files, now)
    create_record(cast, key="mine")
    demo_file = import_file(account(COLLECTOR), files, now)
    real_path = finish(ask_report(cast.manager.user, cast.customer.user, now), files, now)

    remove_demo(demo, files, now=now)
    assert db.session.scalar(select(func.count()).where(User.is_demo)) == 0
    found = find_installation()
    assert found is not None
    assert found.demo_loaded_at is None
    left = counts()
    assert (left["usage_records"], left["usage_keys"], left["usage_daily"]) == (1, 1, 1)
    assert left["usage_monthly"] == 1
    assert (left["jobs"], left["reports"], left["sessions"]) == (1, 1, 0)
    files.open(real_path).close()
    for path in (demo_path, demo_file):
        with pytest.raises(DocumentGone):
            files.open(path)

    load_demo(demo, now=now)
    again = counts()
    mine = {
        "usage_records": 1,
        "usage_keys": 1,
        "usage_daily": 1,
        "usage_monthly": 1,
        "jobs": 1,
        "reports": 1,
    }
    assert {name: again[name] - loaded[name] for name in again if name not in LOG} == {
        **dict.fromkeys(again.keys() - LOG, 0),
        **mine,
    }
    remove_demo(demo, files, now=now)
    remove_demo(demo, files, now=now)
    assert {name: n for name, n in counts().items() if name not in LOG} == {
        name: n for name, n in left.items() if name not in LOG
    }


def test_it_leaves_the_audit_log_whole_and_nothing_personal_of_the_demo(
    demo: Settings, cast: Cast, files: Storage, now: datetime
) -> None:
    use(account(ADMIN), account(CUSTOMER), now)
    before, ids = counts(), list(db.session.scalars(select(User.id).where(User.is_demo)))
    remove_demo(demo, files, now=now)
    after = counts()
    assert after["audit_entries"] == before["audit_entries"] + 1
    assert after["audit_personal_values"] == before["audit_personal_values"]
    values = select(AuditPersonalValue.value).where(AuditPersonalValue.user_id.in_(ids))
    assert set(db.session.scalars(values)) == {None}
    assert verify().entries == after["audit_entries"]


def test_it_takes_a_new_account_with_the_number_of_an_old_one_for_no_stranger(
    demo: Settings, cast: Cast, files: Storage, now: datetime
) -> None:
    use(account(ADMIN), account(CUSTOMER), now)
    remove_demo(demo, files, now=now)
    create_user(email="new@real.example")  # SQLite gives it the number of one that is gone
    load_demo(demo, now=now)
    remove_demo(demo, files, now=now)
    assert find_user_by_email("new@real.example") is not None


def rename(cast: Cast, now: datetime) -> None:
    with transaction():
        admin = account(ADMIN)
        given: dict[str, Any] = {"actor": audit.Actor(user_id=admin.id), "reach": EVERYTHING}
        update_user(admin.id, **given, now=now, name=None, email="me@real.example")


def deactivate(cast: Cast, now: datetime) -> None:
    with transaction():
        actor = audit.Actor(user_id=cast.admin.id)
        deactivate_user(account(CUSTOMER).id, actor=actor, reach=EVERYTHING, now=now)


def make_plan(cast: Cast, now: datetime) -> None:
    with transaction():
        actor = audit.Actor(user_id=account(ADMIN).id)
        create_plan(actor=actor, now=now, code="real", name="Real", currency="USD")


def open_real_account(cast: Cast, now: datetime) -> None:
    with transaction():
        open_account(
            actor=audit.Actor(user_id=account(MANAGER).id),
            now=now,
            calendar=current_calendar(),
            email="real@real.example",
            name="Real",
            role=Role.CUSTOMER,
        )


def act_on_nothing(cast: Cast, now: datetime) -> None:
    with transaction():
        actor = audit.Actor(user_id=account(ADMIN).id)
        audit.record("plan.looked_at", actor=actor, now=now, object_type="plan")


def record_for_demo(cast: Cast, now: datetime) -> None:
    terms = Terms(cast.provider.id, now=now, calendar=current_calendar(), backfill_days=30)
    submit_one(UsageInput(account(CUSTOMER).id, "api_calls", 1), terms=terms)


def record_by_demo(cast: Cast, now: datetime) -> None:
    terms = Terms(account(ADMIN).id, now=now, calendar=current_calendar(), backfill_days=30)
    submit_one(UsageInput(cast.customer.id, "api_calls", 1), terms=terms)


def report_on_demo(cast: Cast, now: datetime) -> None:
    ask_report(cast.manager.user, account(CUSTOMER), now)


def report_by_demo(cast: Cast, now: datetime) -> None:
    ask_report(account(MANAGER), cast.customer.user, now)


def run_report(cast: Cast, now: datetime) -> None:
    report = ask_report(account(MANAGER), account(CUSTOMER), now)
    with transaction():
        claim(report.job_id, worker_id="test", now=now)


@pytest.mark.parametrize(
    ("touch", "named"),
    [
        (record_for_demo, "usage record"),
        (record_by_demo, "usage record"),
        (report_on_demo, "job"),
        (report_by_demo, "job"),
        (deactivate, "audit entry"),
        (make_plan, "audit entry"),
        (open_real_account, "audit entry"),
        (act_on_nothing, "audit entry"),
        (rename, "me@real.example"),
        (run_report, "being made"),
    ],
)
def test_it_removes_nothing_where_anything_else_touches_the_demo(
    demo: Settings,
    cast: Cast,
    files: Storage,
    now: datetime,
    touch: Callable[[Cast, datetime], None],
    named: str,
) -> None:
    touch(cast, now)
    before = counts()
    with pytest.raises(DemoInUse, match=named):
        remove_demo(demo, files, now=now)
    assert counts() == before


def test_it_removes_nothing_when_the_files_cannot_go(
    demo: Settings, files: Storage, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(ask_report(account(MANAGER), account(CUSTOMER), now), files, now)
    before = counts()

    def refuse(folder: str) -> None:
        raise StorageUnavailable("away")

    monkeypatch.setattr(files, "remove", refuse)
    with pytest.raises(StorageUnavailable):
        remove_demo(demo, files, now=now)
    assert counts() == before


def test_it_knows_every_table_that_points_at_accounts() -> None:
    known = {
        *("api_keys", "sessions", "one_time_links", "token_families", "refresh_tokens"),
        *("usage_records", "usage_daily", "usage_monthly", "usage_sources", "usage_source_hours"),
        *("usage_imports", "usage_import_refusals", "usage_rejected_records"),
        *("subscriptions", "jobs", "reports", "letters"),
        *("pending_sign_ins", "recovery_codes", "second_factors"),
    }
    owners = {"users", *known}
    pointing = {
        table.name
        for table in metadata.sorted_tables
        if {key.column.table.name for key in table.foreign_keys} & owners
    }
    assert pointing == known, "remove_demo must remove its rows, or refuse because of them"
