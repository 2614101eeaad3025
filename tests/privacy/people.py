"""A person who is known in as many places as there are, and a search through all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from apiflask import APIFlask
from flask import current_app
from sqlalchemy import inspect, select, text

from billtrack.accounts.sign_in.password_changes import set_password
from billtrack.accounts.sign_in.password_recovery import PASSWORD_REQUEST, answer_request
from billtrack.accounts.sign_in.throttle import MOST_HERE
from billtrack.accounts.users.models import User
from billtrack.accounts.users.passwords import hash_password
from billtrack.core.periods import Month
from billtrack.documents.reports.build import UsageReportBuilder
from billtrack.documents.reports.operations import USAGE_REPORT
from billtrack.notifications.mail.operations import LETTER
from billtrack.notifications.mail.sending import LetterSender
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.runner import Runner
from billtrack.platform.storage.local import LocalStorage
from billtrack.presentation.pdf.pdf import PdfRenderer
from billtrack.privacy.erasure import ERASURE, Eraser
from billtrack.usage.imports.models import RefusedLine, UsageImport
from billtrack.usage.records.models import UsageDaily, UsageRecord
from billtrack.usage.sources.models import RejectedRecord
from tests.cast import SYSTEM, Cast, Member, csrf_token

NAME, EMAIL = "Jane Quimby", "jane.quimby@private.example"
FIRST_NAME, FIRST_EMAIL = "Jane Oldname", "oldname@private.example"
PASSWORD = "a rather long sentence about boats"
WORDS = ("quimby", "oldname")
AGENT = {"User-Agent": "Quimbyphone/1.0"}
HERE = {"REMOTE_ADDR": "198.51.100.77"}


@dataclass(frozen=True)
class Person:
    """Somebody with an account, a key, usage, reports and a past."""

    id: int
    key: Member


def create_person(cast: Cast, role: str = "customer") -> Person:
    """Make the person by what an administrator does: invite, rename, make a key."""
    asked = {"email": FIRST_EMAIL, "name": FIRST_NAME, "role": role, "invite": True}
    by_admin = {"headers": {"Idempotency-Key": "quimby"}}
    person_id: int = cast.admin.post("/api/v1/users", asked, **by_admin).get_json()["id"]
    cast.admin.patch(f"/api/v1/users/{person_id}", {"name": NAME, "email": EMAIL})
    cast.admin.post(f"/api/v1/users/{person_id}/invite", **by_admin)
    named = {"name": "Quimby laptop", "user_id": person_id}
    made = cast.admin.post("/api/v1/api-keys", named, **by_admin)
    user = db.session.get_one(User, person_id, populate_existing=True)
    return Person(person_id, Member(user, made.get_json()["key"]))


def give_past(person: Person) -> None:
    """Let letters go out, then sign in, be wrong so often that it is noted, and give up."""
    run_jobs()
    _sign_in(person.key.user)
    assert _send("/forgot-password", [{"email": EMAIL}]) < 400
    asked = {"email": EMAIL, "password": PASSWORD}
    signed_in = current_app.test_client().post("/api/v1/auth/token", json=asked, headers=AGENT)
    assert signed_in.status_code == 200, signed_in.text


def refuse(cast: Cast, person: Person) -> None:
    """Keep what was refused about the person: by number, by address, and as a line of a file."""
    now, job_id = datetime.now(UTC), db.session.scalars(select(Job.id).limit(1)).one()
    counts = dict.fromkeys(("accepted", "duplicate", "conflict", "rejected"), 0)
    file = UsageImport(job_id=job_id, recorded_by_id=cast.provider.id, filename="u.csv", size=1)
    file.sha256, file.created_at, file.is_dry_run = "0" * 64, now, False
    with transaction() as session:
        for name, count in counts.items():
            setattr(file, name, count)
        session.add(file)
        for user_id, item in ((person.id, NAME), (None, f'{{"user": "{EMAIL.upper()}"}}')):
            record = RejectedRecord(account_id=cast.provider.id, user_id=user_id, item=item)
            record.code, record.detail, record.errors = "invalid_quantity", "", "[]"
            record.first_received_at = record.last_received_at = now
            record.is_whole, record.times = True, 1
            session.add(record)
        session.flush()
        line = RefusedLine(import_id=file.id, number=2, cells=["0", EMAIL], code="c", reason="r")
        session.add(line)


def use(cast: Cast, person: Person) -> None:
    """Record usage about the person, take one record back, and make a report."""
    for number in (1, 2, 3):
        sent = {"user_id": person.id, "event": "api_calls", "quantity": 400_000 * number}
        free = {"idempotency_key": f"quimby-{number}", "metadata": {"who": NAME}}
        assert cast.provider.post("/api/v1/usage/", sent | free).status_code == 201
    event = {"id": "e1", "source": "//quimby.example", "type": "api_calls", "specversion": "1.0"}
    cloud = [event | {"subject": str(person.id), "data": {"quantity": 7, "m": NAME}}]
    batch = {"Content-Type": "application/cloudevents-batch+json"}
    taken = cast.provider.post("/api/v1/usage/batch", data=json.dumps(cloud), headers=batch)
    assert taken.get_json()["accepted"] == 1, taken.text
    last = records_of(person)[-1]["id"]
    cast.provider.post(f"/api/v1/usage/{last}/reverse", {"reason": "Jane Quimby asked for it"})
    cast.admin.post(f"/api/v1/reports/{person.id}", {"format": "json"})
    run_jobs()


def records_of(person: Person) -> list[dict[str, Any]]:
    """Return what bills are made of, of each record."""
    billed = ("id", "user_id", "meter_id", "quantity", "occurred_at", "created_at")
    columns = [getattr(UsageRecord, name) for name in (*billed, "recorded_by_id", "reverses_id")]
    db.session.rollback()
    own = select(*columns).where(UsageRecord.user_id == person.id)
    return [dict(row._mapping) for row in db.session.execute(own.order_by(UsageRecord.id))]


def books(cast: Cast, person: Person) -> Any:
    """Return all that must not change: records, rollups and the statement, to the cent."""
    db.session.rollback()
    daily = select(UsageDaily.__table__).where(UsageDaily.user_id == person.id)
    rollups = [tuple(row) for row in db.session.execute(daily.order_by(UsageDaily.meter_id))]
    month = Month.of(current_calendar().today(datetime.now(UTC)))
    statement = cast.admin.get(f"/api/v1/users/{person.id}/statement?month={month}").get_json()
    del statement["generated_at"]
    return records_of(person), rollups, statement


def run_jobs(*kinds: str) -> None:
    """Run what waits, once, as a worker does; of these kinds, or all."""
    app = _app()
    settings: Settings = app.extensions["billtrack.settings"]
    storage, folder = (
        app.extensions["billtrack.storage"],
        app.extensions["billtrack.notifications.mail"],
    )
    renderer = PdfRenderer(processes=1)
    builder = UsageReportBuilder(renderer=renderer, storage=storage, settings=settings)
    handlers = {
        USAGE_REPORT: builder.build,
        LETTER: LetterSender(folder).send,
        PASSWORD_REQUEST: answer_request,
        ERASURE: Eraser(storage, folder).finish,
    }
    runner = Runner(handlers, worker_id="test")
    db.session.rollback()
    waiting = select(Job.id).where(Job.status == "queued", Job.kind.in_(kinds or handlers))
    job_ids = db.session.scalars(waiting.order_by(Job.id)).all()
    db.session.rollback()  # a snapshot that is held would keep old pages in SQLite's log
    for job_id in job_ids:
        with app.app_context():
            runner.run(job_id)
    db.session.rollback()


def places(app: APIFlask, words: Iterable[str] = WORDS) -> set[str]:
    """Return every table and every file that holds one of the words, whatever they are."""
    db.session.rollback()
    found = set()
    for table in inspect(db.engine).get_table_names():
        for row in db.session.execute(text(f'SELECT * FROM "{table}"')):
            found |= {table for value in row if _says(_as_text(value), words)}
    db.session.rollback()
    folder: Path = app.extensions["billtrack.settings"].data_dir
    for path in folder.rglob("*"):
        if path.is_file() and _says(path.read_bytes().decode(errors="replace"), words):
            found.add(str(path.relative_to(folder)))
    return found


def files_of(storage: LocalStorage) -> list[str]:
    """Return the paths of all stored files."""
    return sorted(storage.list_paths())


def unpack(content: bytes) -> dict[str, str]:
    """Return the files of an export by name."""
    with ZipFile(BytesIO(content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name).decode() for name in archive.namelist()}


def _as_text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else repr(value)


def _says(content: str, words: Iterable[str]) -> bool:
    return any(word in content.lower() for word in words)


def _sign_in(user: User) -> None:
    hashed = hash_password(PASSWORD)
    with transaction():
        set_password(
            user.id, password=hashed, keep_session_id=None, actor=SYSTEM, now=datetime.now(UTC)
        )
    options: dict[str, Any] = {"headers": AGENT, "environ_base": HERE}
    assert _send("/sign-in", [{"email": user.email, "password": PASSWORD}], **options) == 303
    wrong = [{"email": user.email, "password": "wrong"}] * (MOST_HERE + 1)
    assert _send("/sign-in", wrong, **options) == 429


def _send(path: str, forms: Sequence[dict[str, str]], **options: Any) -> int:
    """Send the form of a page again and again with a new browser; return the last status."""
    browser, status = current_app.test_client(), 0
    for form in forms:
        # A context of its own for each request: nothing of one is left to the next.
        with _app().app_context():
            token = csrf_token(browser.get(path, **options))
        with _app().app_context():
            data = form | {"csrf_token": token}
            status = browser.post(path, data=data, **options).status_code
    return status


def _app() -> APIFlask:
    app: APIFlask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app
