"""Imports as jobs: a dead worker's successor goes on, and what stops one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import func, select, update

from billtrack.accounts.users.models import User
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.runner import Runner
from billtrack.platform.storage.storage import DocumentGone, Storage
from billtrack.usage.imports import running, taking
from billtrack.usage.imports.models import RefusedLine, UsageImport
from billtrack.usage.imports.operations import (
    USAGE_IMPORT,
    cancel_import,
    request_import,
    store_file,
)
from billtrack.usage.imports.retention import KEPT, forget_old_imports
from billtrack.usage.imports.running import UsageImporter
from billtrack.usage.records.models import UsageRecord
from tests.cast import SYSTEM, Cast

NOW = datetime.now(UTC)
AT = (NOW - timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")


@dataclass(frozen=True)
class Bench:
    """An import of five good lines and a bad one, in blocks of two, and workers for it."""

    app: APIFlask
    storage: Storage
    import_id: int

    def work(self) -> None:
        """Let a worker take the job, whatever became of the one before."""
        with transaction() as session:
            session.execute(update(Job).values(status="queued"))
            (job_id,) = session.scalars(select(Job.id))
        with self.app.app_context():
            Runner({USAGE_IMPORT: UsageImporter(self.storage).run}, worker_id="w").run(job_id)

    def state(self) -> tuple[str, int, int, int, int]:
        """Return the job's state, what is added, known and refused, and the stored records."""
        db.session.rollback()
        status = db.session.scalars(select(Job.status)).one()
        wanted = db.session.get_one(UsageImport, self.import_id)
        stored = db.session.scalars(select(func.count(UsageRecord.id))).one()
        return status, wanted.accepted, wanted.duplicate, wanted.refused, stored


@pytest.fixture
def bench(app: APIFlask, cast: Cast, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(taking, "BLOCK", 2)
    rows = [f"{cast.customer.id},api_calls,{quantity},{AT}" for quantity in (1, "x", 3, 3, 4, 5)]
    content = "\n".join(["user_id,event,quantity,occurred_at", *rows]).encode()
    storage: Storage = app.extensions["billtrack.storage"]
    file = store_file(storage, content)
    with transaction():
        wanted = request_import(
            file,
            filename="usage.csv",
            recorded_by_id=cast.provider.id,
            is_dry_run=False,
            actor=SYSTEM,
            now=NOW,
        )
    return Bench(app, storage, wanted.id)


def interrupt(
    monkeypatch: pytest.MonkeyPatch, place: object, name: str, *, at: int, act: Callable[[], Any]
) -> None:
    """Do something in place of the call of this number."""
    real: Callable[..., Any] = getattr(place, name)
    seen: list[Sequence[Any]] = []

    def called(*arguments: Any, **options: Any) -> Any:
        seen.append(arguments)
        if len(seen) == at:
            act()
        return real(*arguments, **options)

    monkeypatch.setattr(place, name, called)


def die() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("place", "name", "noted"),
    [
        (taking.UsageFile, "_take_block", (1, 0, 1, 1)),
        # Its records are stored, and it could not say so any more.
        (running._Notes, "_store", (1, 0, 1, 3)),
    ],
)
def test_a_worker_that_died_is_followed_by_one_that_doubles_nothing(
    bench: Bench,
    monkeypatch: pytest.MonkeyPatch,
    place: object,
    name: str,
    noted: tuple[int, int, int, int],
) -> None:
    interrupt(monkeypatch, place, name, at=2, act=die)
    with pytest.raises(KeyboardInterrupt):
        bench.work()
    assert bench.state() == ("running", *noted)
    bench.work()
    assert bench.state() == ("completed", 5, 0, 1, 5)
    path = db.session.get_one(UsageImport, bench.import_id).path
    assert path is not None
    with pytest.raises(DocumentGone):
        bench.storage.open(path)


def test_a_late_worker_notes_nothing(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def take_over() -> None:
        with transaction() as session:
            session.execute(update(Job).values(attempt=Job.attempt + 1))

    interrupt(monkeypatch, taking.UsageFile, "_take_block", at=3, act=take_over)
    bench.work()
    assert bench.state() == ("running", 3, 0, 1, 5)


def test_it_stops_before_the_next_block_when_asked(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cancel() -> None:
        with transaction() as session:
            wanted = session.get_one(UsageImport, bench.import_id)
            cancel_import(wanted, session.scalars(select(Job)).one(), actor=SYSTEM, now=NOW)

    interrupt(monkeypatch, taking.UsageFile, "_take_block", at=2, act=cancel)
    bench.work()
    assert bench.state() == ("failed", 1, 0, 1, 1)


@pytest.mark.parametrize("change", [{"deactivated_at": NOW}, {"role": "customer"}])
def test_it_records_nothing_for_an_account_that_may_not_any_more(
    bench: Bench, cast: Cast, change: dict[str, Any]
) -> None:
    with transaction() as session:
        session.execute(update(User).where(User.id == cast.provider.id).values(**change))
    bench.work()
    assert bench.state() == ("failed", 0, 0, 0, 0)
    assert "may not record" in (db.session.scalars(select(Job.error)).one() or "")


def test_files_and_refused_lines_are_forgotten_after_a_while(bench: Bench) -> None:
    bench.work()
    assert forget_old_imports(bench.storage, now=datetime.now(UTC)) == 0
    assert db.session.scalars(select(func.count()).select_from(RefusedLine)).one() == 1
    later = datetime.now(UTC) + KEPT
    assert forget_old_imports(bench.storage, now=later) == 1
    assert forget_old_imports(bench.storage, now=later) == 0
    assert db.session.scalars(select(func.count()).select_from(RefusedLine)).one() == 0
    assert bench.state() == ("completed", 5, 0, 1, 5)
