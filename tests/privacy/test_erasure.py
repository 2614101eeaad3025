"""Erasing a person: nothing says who it was, and the books are the same to the cent."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from apiflask import APIFlask
from sqlalchemy import func, select, update
from werkzeug.test import TestResponse

from billtrack.accounts.lifecycle import reactivate_user
from billtrack.accounts.users.models import User, UserSession
from billtrack.accounts.users.operations import AccountErased, LastAdministrator
from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.documents.reports.models import Report
from billtrack.documents.reports.operations import USAGE_REPORT
from billtrack.platform.audit import Actor
from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.audit.verification import verify as verify_log
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.platform.jobs.models import Job
from billtrack.platform.storage.local import LocalStorage
from billtrack.platform.storage.storage import StoredFile
from billtrack.privacy import erasure
from billtrack.privacy.erasure import ERASURE, OwnErasure, erase_account
from billtrack.usage.records.verification import verify
from tests.cast import SYSTEM, Cast
from tests.privacy import people
from tests.privacy.people import Person, books, places, run_jobs
from tests.usage.racing import in_threads

ON_SQLITE = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
ON_POSTGRESQL = pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
EVERYTHING = Reach(Breadth.ALL, 0)


@pytest.fixture
def person(cast: Cast) -> Person:
    return people.create_person(cast)


def erase(user_id: int, actor: Actor = SYSTEM) -> User:
    with transaction():
        return erase_account(user_id, actor=actor, reach=EVERYTHING, now=datetime.now(UTC))


def count(model: type, *where: object) -> int:
    db.session.rollback()
    return db.session.scalar(select(func.count()).select_from(model).where(*where)) or 0  # type: ignore[arg-type]


def send_first(cast: Cast, person: Person, *, quantity: int = 400_000) -> TestResponse:
    """Send the first record of the person once more."""
    free = {"idempotency_key": "quimby-1", "metadata": {"who": people.NAME}}
    sent = {"user_id": person.id, "event": "api_calls", "quantity": quantity}
    return cast.provider.post("/api/v1/usage/", sent | free)


def sign_in_late(person: Person) -> None:
    """Sign in as somebody whose account was found active just before it was erased."""
    now = datetime.now(UTC)
    late = UserSession(token_hash="x", user_id=person.id, created_at=now, seen_at=now)
    late.expires_at, late.user_agent = now + timedelta(days=1), "Quimbyphone/1.0"
    with transaction() as session:
        session.add(late)


def settle() -> None:
    """Run the jobs again, as if a minute had passed."""
    with transaction():
        db.session.execute(update(Job).values(due_at=None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(erasure, "SETTLED", timedelta())
        run_jobs()


def test_nothing_says_who_it_was_and_the_books_are_the_same(
    app: APIFlask, cast: Cast, person: Person
) -> None:
    people.use(cast, person)
    people.give_past(person)
    people.refuse(cast, person)
    before, found = books(cast, person), places(app)
    assert found >= {
        *("users", "letters", "api_keys", "usage_records", "sessions", "jobs"),
        *("audit_personal_values", "command_keys", "token_families"),
        *("usage_rejected_records", "usage_import_refusals"),
    }
    assert {path.partition(".")[2] for path in found} >= {"json", "eml"}
    erase(person.id)
    run_jobs()
    assert places(app) == set()
    sign_in_late(person)
    assert "sessions" in places(app)
    assert count(Job, Job.kind == ERASURE, Job.status == "queued") == 1
    settle()
    assert places(app) == set()
    assert books(cast, person) == before
    assert [one for user in verify(calendar=current_calendar()) for one in user.differences] == []
    assert verify_log().erased > 0
    assert count(Job, Job.kind == ERASURE, Job.status == "completed") == 1
    assert send_first(cast, person).status_code == 200  # known by its hash, and not billed twice
    assert send_first(cast, person, quantity=1).status_code == 409


@ON_SQLITE
def test_its_history_is_listed_under_the_marker(cast: Cast, person: Person) -> None:
    erase(person.id)
    marker = {"name": f"Erased customer {person.id}", "email": f"erased-{person.id}@erased.invalid"}
    shown = cast.admin.get(f"/api/v1/users/{person.id}").get_json()
    assert marker.items() <= shown.items()
    assert (shown["active"], shown["has_password"]) == (False, False)
    listed = cast.admin.get(f"/api/v1/users?search=erased%20customer%20{person.id}").get_json()
    assert [user["id"] for user in listed["data"]] == [person.id]
    assert cast.admin.get(f"/api/v1/users/{person.id}/statement").status_code == 200


@ON_SQLITE
def test_nobody_gets_in_and_no_usage_is_taken(cast: Cast, person: Person) -> None:
    assert person.key.get("/api/v1/usage").status_code == 200
    erase(person.id)
    assert person.key.get("/api/v1/usage").status_code == 401
    sent = {"user_id": person.id, "event": "api_calls", "quantity": 1}
    refused = cast.provider.post("/api/v1/usage/", sent)
    assert (refused.status_code, refused.get_json()["code"]) == (422, "inactive_user")
    with pytest.raises(AccountErased), transaction():
        reactivate_user(person.id, actor=SYSTEM, reach=EVERYTHING, now=datetime.now(UTC))
    renamed = cast.admin.patch(f"/api/v1/users/{person.id}", {"name": "Jane Quimby"})
    assert (renamed.status_code, renamed.get_json()["code"]) == (409, "account_erased")
    assert count(UserSession, UserSession.user_id == person.id) == 0


@ON_SQLITE
def test_erasing_twice_does_nothing(cast: Cast, person: Person) -> None:
    first = erase(person.id).erased_at
    entries, jobs = count(AuditEntry), count(Job)
    assert erase(person.id).erased_at == first
    assert (count(AuditEntry), count(Job)) == (entries, jobs)


@pytest.mark.by_chance
@ON_POSTGRESQL
def test_two_at_once_are_one(app: APIFlask, person: Person) -> None:
    in_threads(app, [lambda: erase(person.id)] * 2)
    assert count(AuditEntry, AuditEntry.action == "user.erased") == 1
    assert count(Job, Job.kind == ERASURE) == 1


@ON_SQLITE
def test_nobody_erases_themself_or_the_last_administrator(cast: Cast) -> None:
    with pytest.raises(OwnErasure):
        erase(cast.admin.id, Actor(user_id=cast.admin.id))
    with pytest.raises(LastAdministrator):
        erase(cast.admin.id)
    with transaction():
        db.session.get_one(User, cast.manager.id).role = "admin"
    assert erase(cast.admin.id).name == f"Erased administrator {cast.admin.id}"
    with pytest.raises(LastAdministrator):
        erase(cast.manager.id)


@pytest.mark.by_chance
@ON_POSTGRESQL
def test_two_administrators_do_not_erase_each_other(app: APIFlask, cast: Cast) -> None:
    with transaction():
        db.session.get_one(User, cast.manager.id).role = "admin"
    pair = (cast.admin.id, cast.manager.id)
    refused: list[Exception] = []

    def attack(by: int, on: int) -> Callable[[], None]:
        def run() -> None:
            try:
                erase(on, Actor(user_id=by))
            except LastAdministrator as error:
                refused.append(error)

        return run

    in_threads(app, [attack(*pair), attack(*pair[::-1])])
    assert len(refused) == 1
    assert count(User, User.role == "admin", User.deactivated_at.is_(None)) == 1


@ON_SQLITE
def test_whom_the_person_invited_is_not_told_the_name(app: APIFlask, cast: Cast) -> None:
    manager = people.create_person(cast, "manager")
    asked = {"email": "new@test.example", "name": "New", "role": "customer", "invite": True}
    assert manager.key.post("/api/v1/users", asked).status_code == 201
    run_jobs()
    assert {path for path in places(app) if path.startswith("mail/")}
    erase(manager.id)
    run_jobs()
    assert places(app) == set()


@pytest.mark.by_chance
@ON_POSTGRESQL
def test_a_rename_at_the_same_moment_does_not_bring_the_name_back(
    app: APIFlask, cast: Cast, person: Person
) -> None:
    answers: list[int] = []

    def rename() -> None:
        body = {"name": "Jane Quimby-Smith"}
        answers.append(cast.admin.patch(f"/api/v1/users/{person.id}", body).status_code)

    in_threads(app, [rename, lambda: erase(person.id)])
    assert answers[0] in {200, 409}
    assert "users" not in places(app)
    assert "audit_personal_values" not in places(app)


@ON_SQLITE
def test_many_records_are_erased_some_at_a_time(
    app: APIFlask, cast: Cast, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    people.use(cast, person)
    monkeypatch.setattr(erasure, "AT_ONCE", 2)
    erase(person.id)
    run_jobs()
    assert "usage_records" not in places(app)


@ON_SQLITE
def test_addresses_of_others_stay_in_the_log(app: APIFlask, cast: Cast, person: Person) -> None:
    erase(person.id, Actor(user_id=cast.admin.id, address="192.0.2.99"))
    assert "audit_personal_values" in places(app, ["192.0.2.99"])
    assert places(app, [cast.customer.user.email]) >= {"users", "audit_personal_values"}


class Meddling:
    """A storage in which something happens as soon as a file is there."""

    def __init__(self, kept: LocalStorage, happens: Callable[[], object]) -> None:
        self._kept, self._happens = kept, happens

    def put(self, path: str, content: bytes) -> StoredFile:
        stored = self._kept.put(path, content)
        assert b"Quimby" in content
        self._happens()
        return stored

    def remove(self, folder: str) -> None:
        self._kept.remove(folder)


def ask_for_report(cast: Cast, person: Person) -> str:
    asked = cast.admin.post(f"/api/v1/reports/{person.id}", {"format": "json"})
    job_id: str = asked.get_json()["jobId"]
    return job_id


def test_a_report_that_is_being_made_names_nobody_in_the_end(
    app: APIFlask, cast: Cast, person: Person
) -> None:
    job_id = ask_for_report(cast, person)
    kept = app.extensions["billtrack.storage"]
    app.extensions["billtrack.storage"] = Meddling(kept, lambda: erase(person.id))
    run_jobs(USAGE_REPORT)
    app.extensions["billtrack.storage"] = kept
    assert cast.admin.get(f"/api/v1/reports/status/{job_id}").get_json()["status"] == "queued"
    settle()
    settle()
    assert list(kept.list_paths()) == [path_of(job_id)]
    assert path_of(job_id).startswith(f"{job_id}/2/")
    assert places(app) == set()


@ON_SQLITE
def test_a_worker_that_lost_its_report_leaves_no_file(
    app: APIFlask, cast: Cast, person: Person
) -> None:
    job_id = ask_for_report(cast, person)
    kept = app.extensions["billtrack.storage"]

    def lose() -> None:
        with transaction():
            db.session.execute(update(Job).values(attempt=2))

    app.extensions["billtrack.storage"] = Meddling(kept, lose)
    run_jobs(USAGE_REPORT)
    assert list(kept.list_paths()) == []
    assert path_of(job_id) == ""


def path_of(job_id: str) -> str:
    db.session.rollback()
    return db.session.scalar(select(Report.path).where(Report.job_id == int(job_id))) or ""


@ON_SQLITE
def test_a_report_asked_for_later_keeps_its_file(app: APIFlask, cast: Cast, person: Person) -> None:
    first = ask_for_report(cast, person)
    run_jobs()
    erase(person.id)
    assert path_of(first) == ""
    second = ask_for_report(cast, person)
    run_jobs()
    settle()
    kept = app.extensions["billtrack.storage"]
    assert list(kept.list_paths()) == [path_of(second)]
    with kept.open(path_of(second)) as file:
        assert f"Erased customer {person.id}" in file.read().decode()
