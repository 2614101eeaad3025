"""A job goes from queued to completed or failed, whatever happens to its workers."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from apiflask import APIFlask
from sqlalchemy.exc import OperationalError

from billtrack.core.errors import InvalidError, UnavailableError
from billtrack.platform.audit import Actor
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs import operations
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.operations import (
    GROUP,
    LEASE,
    LONGEST_WAIT,
    MAX_ATTEMPTS,
    JobNotFailed,
)
from billtrack.platform.jobs.queries import get_job
from billtrack.platform.jobs.runner import Run, Runner, TryLater
from tests.cast import SYSTEM, Cast
from tests.usage.racing import in_threads, overlapping

START = datetime(2026, 10, 5, 12, 0, tzinfo=UTC)
LATER = START + LEASE + timedelta(seconds=1)


@pytest.fixture(autouse=True)
def rung(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Hear the bell instead of filling a queue that nobody empties."""
    heard: list[int] = []
    monkeypatch.setattr(operations, "ring", heard.append)
    return heard


@pytest.fixture
def job(app: APIFlask) -> Job:
    return queued()


def test_it_rings_once_the_job_is_stored(app: APIFlask, rung: list[int]) -> None:
    with transaction():
        first = operations.enqueue("test", actor=SYSTEM, now=START, payload={"a": 1})
        assert rung == []
    assert rung == [first.id]
    assert state(first) == ("queued", 0, 0, None)
    with transaction():
        operations.enqueue(GROUP, actor=SYSTEM, now=START, payload={})
    assert rung == [first.id]


def test_it_is_claimed_by_one_of_many(app: APIFlask, job: Job) -> None:
    job_id = job.id

    def claim() -> int | None:
        with transaction():
            claimed = operations.claim(job_id, worker_id="w", now=START)
        return claimed.attempt if claimed else None

    assert sorted(in_threads(app, [claim] * 4), key=str) == [1, None, None, None]
    row = get_job(job.id, requested_by=None)
    assert (row.status, row.attempt, row.lease_expires_at) == ("running", 1, START + LEASE)


def test_it_belongs_to_the_attempt_that_holds_it(job: Job, rung: list[int]) -> None:
    claim(job)
    assert write(operations.mark_completed, job, 1, now=START)
    assert state(job) == ("completed", 1, 100, None)
    late: list[Callable[[], object]] = [
        lambda: operations.claim(job.id, worker_id="w", now=LATER),
        lambda: operations.mark_completed(job.id, 1, now=LATER),
        lambda: operations.mark_failed(job.id, 1, error="late", now=LATER),
        lambda: operations.report_progress(job.id, 1, 5),
        lambda: operations.requeue(job.id, 1, now=LATER),
        lambda: operations.renew_leases([(job.id, 1)], now=LATER),
        lambda: operations.sweep(now=LATER),
    ]
    for late_word in late:
        with transaction():
            assert not late_word()
        assert state(job) == ("completed", 1, 100, None)
    assert get_job(job.id, requested_by=None).finished_at == START
    assert rung == [job.id]


def test_it_is_taken_up_again_when_its_lease_runs_out(job: Job, rung: list[int]) -> None:
    claim(job)
    write(operations.report_progress, job, 1, 40)
    sweep(START + LEASE)
    assert state(job) == ("running", 1, 40, None)
    sweep(LATER)
    assert state(job) == ("queued", 1, 0, None)
    assert rung == [job.id] * 2
    claim(job, LATER)
    # The first worker wakes up: nothing that it says counts.
    write(operations.report_progress, job, 1, 99)
    assert write(operations.mark_completed, job, 1, now=LATER) is False
    assert write(operations.mark_failed, job, 1, error="late", now=LATER) is False
    assert state(job) == ("running", 2, 0, None)
    assert write(operations.mark_completed, job, 2, now=LATER) is True


def test_a_postponed_job_is_taken_when_it_is_due(job: Job, rung: list[int]) -> None:
    due = START + timedelta(hours=4)
    claim(job)
    assert postpone(job, 1, due)
    assert state(job) == ("queued", 1, 0, "busy")
    for early in (START, due - timedelta(seconds=1)):
        sweep(early)
        assert claim_at(job, early) is None
    assert rung == [job.id]
    sweep(due)
    assert rung == [job.id] * 2
    assert claim_at(job, due) == 2
    assert not postpone(job, 1, due)  # a worker that wakes late postpones nothing
    assert state(job) == ("running", 2, 0, None)


def test_postponing_counts_as_no_death_of_a_worker(job: Job) -> None:
    at = START
    for attempt in range(1, MAX_ATTEMPTS + 2):
        assert claim_at(job, at) == attempt
        at += timedelta(minutes=1)
        assert postpone(job, attempt, at)
    assert claim_at(job, at) == MAX_ATTEMPTS + 2
    sweep(at + LEASE + timedelta(seconds=1))
    assert state(job) == ("queued", MAX_ATTEMPTS + 2, 0, None)


def test_a_job_that_a_wrong_clock_postponed_is_not_kept_waiting(job: Job, rung: list[int]) -> None:
    claim(job)
    assert postpone(job, 1, START + LONGEST_WAIT + timedelta(days=1000))
    sweep(START)
    assert rung == [job.id] * 2
    assert claim_at(job, START) == 2


def test_a_handler_may_ask_for_another_time(app: APIFlask, job: Job) -> None:
    def busy(run: Run) -> Callable[[], None]:
        raise TryLater("The other side is busy.", after=timedelta(minutes=5))

    Runner({"test": busy}, worker_id="w").run(job.id)
    assert state(job) == ("queued", 1, 0, "The other side is busy.")
    due_at = get_job(job.id, requested_by=None).due_at
    assert due_at is not None
    assert timedelta(minutes=4) < due_at - datetime.now(UTC) <= timedelta(minutes=5)


def test_it_keeps_a_job_whose_lease_is_renewed(job: Job) -> None:
    claim(job)
    with transaction():
        operations.renew_leases([(job.id, 1), (job.id, 7)], now=LATER)
    sweep(LATER)
    assert state(job) == ("running", 1, 0, None)


def test_it_is_given_up_after_too_many_attempts(job: Job) -> None:
    for attempt in range(1, MAX_ATTEMPTS + 1):
        claim(job)
        sweep(LATER)
        expected = "queued" if attempt < MAX_ATTEMPTS else "failed"
        assert state(job)[:2] == (expected, attempt)
    error = get_job(job.id, requested_by=None).error
    assert error is not None
    assert f"{MAX_ATTEMPTS} times" in error
    retry(job)
    claim(job)
    sweep(LATER)
    assert state(job)[:2] == ("queued", MAX_ATTEMPTS + 1)


def test_it_is_rung_again_when_nobody_heard(job: Job, rung: list[int]) -> None:
    sweep(START + timedelta(seconds=60))
    assert rung == [job.id]
    sweep(START + timedelta(seconds=61))
    sweep(START + timedelta(seconds=62))
    assert rung == [job.id] * 2


def test_it_is_retried_only_when_it_has_failed(job: Job, rung: list[int]) -> None:
    with pytest.raises(JobNotFailed):
        retry(job)
    claim(job)
    with pytest.raises(JobNotFailed):
        retry(job)
    write(operations.mark_failed, job, 1, error="No.", now=START)
    assert state(job) == ("failed", 1, 0, "No.")
    retry(job)
    assert state(job) == ("queued", 1, 0, None)
    assert rung == [job.id] * 2
    claim(job)
    write(operations.mark_completed, job, 2, now=START)
    with pytest.raises(JobNotFailed):
        retry(job)


def test_it_counts_children_in_their_parent(app: APIFlask) -> None:
    parent, (first, second, third) = family()
    assert state(parent) == ("queued", 0, 0, None)
    for child in (first, second, third):
        claim(child)
    write(operations.mark_completed, first, 1, now=START)
    assert state(parent) == ("running", 0, 33, None)
    write(operations.mark_failed, second, 1, error="No.", now=START)
    assert state(parent) == ("running", 0, 66, "1 of 3 failed.")
    write(operations.mark_completed, third, 1, now=LATER)
    assert state(parent) == ("failed", 0, 100, "1 of 3 failed.")
    assert get_job(parent.id, requested_by=None).finished_at == LATER
    with pytest.raises(JobNotFailed):
        retry(parent)
    retry(second)
    assert state(parent) == ("running", 0, 66, None)
    assert get_job(parent.id, requested_by=None).finished_at is None
    claim(second)
    write(operations.mark_completed, second, 2, now=LATER)
    assert state(parent) == ("completed", 0, 100, None)


def test_it_ends_a_parent_whose_children_end_at_once(app: APIFlask) -> None:
    parent, children = family()
    for child in children:
        claim(child)
    ids = [child.id for child in children]
    write(operations.mark_completed, children[0], 1, now=START)
    ends = [partial(operations.mark_completed, child_id, 1, now=START) for child_id in ids[1:]]
    assert overlapping(app, *ends) == [True, True]
    assert state(parent) == ("completed", 0, 100, None)


def test_nobody_claims_or_rings_for_a_parent(app: APIFlask, rung: list[int]) -> None:
    parent, children = family()
    with transaction():
        assert operations.claim(parent.id, worker_id="w", now=START) is None
    sweep(START + timedelta(hours=1))
    assert parent.id not in rung
    assert sorted(rung) == sorted([child.id for child in children] * 2)


def test_it_stores_the_result_with_the_completion(job: Job) -> None:
    def handler(run: Run) -> Callable[[], None]:
        run.report_progress(50)
        assert state(job) == ("running", 1, 50, None)
        return lambda: keep("done")

    Runner({"test": handler}, worker_id="w").run(job.id)
    assert state(job) == ("completed", 1, 100, None)
    assert kept() == ["done"]


def test_a_late_worker_stores_nothing(job: Job) -> None:
    def handler(run: Run) -> Callable[[], None]:
        sweep(datetime.now(UTC) + LEASE + timedelta(seconds=1))
        claim(job)
        return lambda: keep("late")

    Runner({"test": handler}, worker_id="w").run(job.id)
    assert state(job) == ("running", 2, 0, None)
    assert kept() == []


class Refused(InvalidError):
    code = "refused"


ENDS: list[tuple[Exception, str, str]] = [
    (Refused("Choose another month."), "failed", "Choose another month."),
    (KeyError("secret detail"), "failed", "Something unexpected happened"),
    (RuntimeError("secret detail"), "failed", "Something unexpected happened"),
    (OperationalError("SELECT", {}, Exception("gone")), "running", ""),
    (UnavailableError("The renderer is away."), "running", ""),
]


def test_it_ends_as_its_error_says(app: APIFlask) -> None:
    for error, status, told in ENDS:
        job = queued()

        def fail(run: Run, error: Exception = error) -> Callable[[], None]:
            raise error

        runner = Runner({"test": fail}, worker_id="w")
        runner.run(job.id)
        row = get_job(job.id, requested_by=None)
        assert row.status == status
        assert (row.error or "").startswith(told)
        assert "secret" not in (row.error or "")
        assert runner.running() == set()
        if status == "running":
            sweep(datetime.now(UTC) + LEASE + timedelta(seconds=1))
            assert state(job) == ("queued", 1, 0, None)


def test_it_fails_when_storing_the_result_fails(job: Job) -> None:
    def store() -> None:
        keep("half")
        raise KeyError("fault")

    Runner({"test": lambda run: store}, worker_id="w").run(job.id)
    assert state(job)[0] == "failed"
    assert kept() == []


def test_it_is_renewed_only_while_it_runs(job: Job) -> None:
    def handler(run: Run) -> Callable[[], None]:
        assert runner.running() == {(job.id, 1)}
        return lambda: None

    runner = Runner({"test": handler}, worker_id="w")
    runner.run(job.id)
    runner.run(job.id)
    assert runner.running() == set()
    assert state(job) == ("completed", 1, 100, None)


def test_only_the_one_who_asked_retries_it(cast: Cast) -> None:
    with transaction():
        actor = Actor(user_id=cast.provider.id)
        asked = operations.enqueue("test", actor=actor, now=START, payload={})
    path = f"/api/v1/jobs/{asked.id}/retry"
    conflict = cast.provider.post(path)
    assert (conflict.status_code, conflict.get_json()["code"]) == (409, "job_not_failed")
    claim(asked)
    write(operations.mark_failed, asked, 1, error="No.", now=START)
    assert cast.other_provider.post(path).status_code == 404
    assert cast.provider.post(path).get_json()["status"] == "queued"
    assert cast.provider.post(path).status_code == 409


def test_reports_about_nobody_are_refused(cast: Cast) -> None:
    for member in (cast.customer, cast.other_customer, cast.stranger):
        cast.admin.post(f"/api/v1/users/{member.id}/deactivate")
    answer = cast.admin.post("/api/v1/reports", {"user_ids": "all"})
    assert (answer.status_code, answer.get_json()["code"]) == (422, "nobody_to_report")
    assert db.session.query(Job).count() == 0


def queued(parent_id: int | None = None) -> Job:
    with transaction():
        return operations.enqueue("test", actor=SYSTEM, now=START, payload={}, parent_id=parent_id)


def family() -> tuple[Job, list[Job]]:
    with transaction():
        parent = operations.enqueue(GROUP, actor=SYSTEM, now=START, payload={})
    return parent, [queued(parent.id) for _ in range(3)]


def claim(job: Job, now: datetime = START) -> None:
    with transaction():
        assert operations.claim(job.id, worker_id="w", now=now) is not None


def write(
    operation: Callable[..., bool | None], job: Job, *args: object, **named: object
) -> bool | None:
    with transaction():
        return operation(job.id, *args, **named)


def retry(job: Job) -> None:
    with transaction():
        operations.retry(db.session.get_one(Job, job.id), actor=SYSTEM, now=START)


def sweep(now: datetime) -> None:
    with transaction():
        operations.sweep(now=now)


def keep(word: str) -> None:
    operations.enqueue(word, actor=SYSTEM, now=START, payload={})


def kept() -> list[str]:
    db.session.rollback()
    return [job.kind for job in db.session.query(Job).filter(Job.kind != "test")]


def state(job: Job) -> tuple[str, int, int, str | None]:
    db.session.rollback()
    row = get_job(job.id, requested_by=None)
    return row.status, row.attempt, row.progress, row.error


def test_a_lease_of_a_clock_that_was_ahead_holds_nothing_up(job: Job, rung: list[int]) -> None:
    claim(job, START + timedelta(days=1))
    sweep(START)
    assert state(job) == ("queued", 1, 0, None)
    assert rung == [job.id] * 2
    # Clocks may differ by as much as a lease lasts.
    claim(job, START + LEASE)
    sweep(START)
    assert state(job) == ("running", 2, 0, None)


def test_it_is_rung_again_when_its_clock_was_ahead(app: APIFlask, rung: list[int]) -> None:
    with transaction():
        job = operations.enqueue("test", actor=SYSTEM, now=START + timedelta(days=1), payload={})
    sweep(START)
    assert rung == [job.id] * 2
    sweep(START + timedelta(seconds=60))
    assert rung == [job.id] * 2


def claim_at(job: Job, now: datetime) -> int | None:
    with transaction():
        claimed = operations.claim(job.id, worker_id="w", now=now)
    return claimed.attempt if claimed else None


def postpone(job: Job, attempt: int, due_at: datetime) -> bool:
    with transaction():
        return operations.postpone(job.id, attempt, reason="busy", due_at=due_at, now=START)
