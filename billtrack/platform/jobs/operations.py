"""Move jobs through their states. The caller owns the transaction.

Every change is a conditional UPDATE: what counts is whether it hit a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update

from billtrack.core.errors import ConflictError
from billtrack.platform import audit
from billtrack.platform.db import after_commit, row_count
from billtrack.platform.extensions import db
from billtrack.platform.jobs.bell import ring
from billtrack.platform.jobs.models import OPEN_STATES, Job

LEASE = timedelta(seconds=30)
RING_AGAIN_AFTER = timedelta(seconds=60)
MAX_ATTEMPTS = 5
LONGEST_WAIT = timedelta(days=1)
"""How far ahead a job may be postponed."""

SWEEP_LIMIT = 500

GROUP = "group"
"""The kind of a parent job: nobody runs it, its children move it."""


class JobNotFailed(ConflictError):
    """Only a failed job can be run again."""

    code = "job_not_failed"


def enqueue(
    kind: str,
    *,
    actor: audit.Actor,
    now: datetime,
    payload: dict[str, Any],
    parent_id: int | None = None,
) -> Job:
    """Add a queued job; a worker hears of it once the transaction is stored."""
    job = Job(
        kind=kind,
        payload=payload,
        parent_id=parent_id,
        requested_by_id=actor.user_id,
        created_at=now,
        rung_at=now,
    )
    db.session.add(job)
    db.session.flush()
    audit.record(
        "job.queued",
        actor=actor,
        now=now,
        object_type="job",
        object_id=job.id,
        changes={"kind": kind},
    )
    if kind != GROUP:
        after_commit(partial(ring, job.id))
    return job


def claim(job_id: int, *, worker_id: str, now: datetime) -> Job | None:
    """Take a queued job under a lease; None when somebody else has it or it has ended."""
    claimed = db.session.execute(
        update(Job)
        .where(Job.id == job_id, Job.status == "queued", Job.kind != GROUP, _is_due(now))
        .values(
            status="running",
            attempt=Job.attempt + 1,
            worker_id=worker_id,
            lease_expires_at=now + LEASE,
            started_at=now,
            due_at=None,
            progress=0,
            error=None,
        )
    )
    return db.session.get(Job, job_id) if row_count(claimed) else None


def renew_leases(running: Iterable[tuple[int, int]], *, now: datetime) -> None:
    """Prolong the leases of these (job, attempt) pairs that still hold."""
    for job_id, attempt in running:
        db.session.execute(
            update(Job).where(_held(job_id, attempt)).values(lease_expires_at=now + LEASE)
        )


def report_progress(job_id: int, attempt: int, progress: int) -> None:
    """Note how far the attempt is, in percent; a late worker's word changes nothing."""
    db.session.execute(update(Job).where(_held(job_id, attempt)).values(progress=progress))


def mark_completed(job_id: int, attempt: int, *, now: datetime) -> bool:
    """Complete the job if this attempt still holds it; tell whether it did."""
    values = {"status": "completed", "progress": 100, "finished_at": now, **_RELEASED}
    return _finish(job_id, attempt, values, now)


def mark_failed(job_id: int, attempt: int, *, error: str, now: datetime) -> bool:
    """Fail the job, with a reason for people, if this attempt still holds it."""
    values = {"status": "failed", "error": error, "finished_at": now, **_RELEASED}
    return _finish(job_id, attempt, values, now)


def requeue(job_id: int, attempt: int, *, now: datetime) -> None:
    """Give back a job that could not be run for now, for another attempt."""
    given_back = db.session.execute(
        update(Job)
        .where(_held(job_id, attempt))
        .values(status="queued", rung_at=now, progress=0, **_RELEASED)
    )
    if row_count(given_back):
        after_commit(partial(ring, job_id))


def postpone(job_id: int, attempt: int, *, reason: str, due_at: datetime, now: datetime) -> bool:
    """Give the job back, to be taken again at `due_at`; tell whether this attempt still held it.

    `reason` is for people who look meanwhile. At most LONGEST_WAIT ahead. How often is up to
    the job: what is postponed did not kill its worker.
    """
    given_back = db.session.execute(
        update(Job)
        .where(_held(job_id, attempt))
        .values(
            status="queued",
            rung_at=now,
            due_at=due_at,
            error=reason,
            progress=0,
            first_attempt=Job.attempt,
            **_RELEASED,
        )
    )
    return row_count(given_back) > 0


def forget_payload(job_id: int) -> None:
    """Empty the payload of a job that is done, where it held what nobody needs to keep."""
    db.session.execute(update(Job).where(Job.id == job_id).values(payload={}))


def retry(job: Job, *, actor: audit.Actor, now: datetime) -> None:
    """Queue a failed job once more. Raises JobNotFailed."""
    queued = db.session.execute(
        update(Job)
        .where(Job.id == job.id, Job.status == "failed", Job.kind != GROUP)
        .values(
            status="queued",
            error=None,
            progress=0,
            rung_at=now,
            finished_at=None,
            first_attempt=Job.attempt,
        )
    )
    if not row_count(queued):
        raise JobNotFailed(f"Job {job.id} has not failed, so there is nothing to retry.")
    audit.record(
        "job.retried",
        actor=actor,
        now=now,
        object_type="job",
        object_id=job.id,
        changes={"status": audit.Change("failed", "queued")},
    )
    after_commit(partial(ring, job.id))
    _advance_parent(job.parent_id, now)


def sweep(*, now: datetime) -> None:
    """Take up jobs whose worker died, give up those that killed too many, ring for the rest.

    An instant further ahead than any that is given out is from a clock that was wrong: to
    wait for it could take for ever.
    """
    has_run_out = or_(Job.lease_expires_at < now, Job.lease_expires_at > now + 2 * LEASE)
    for job in _lock(and_(Job.status == "running", has_run_out)):
        if job.attempt - job.first_attempt < MAX_ATTEMPTS:
            requeue(job.id, job.attempt, now=now)
        else:
            mark_failed(job.id, job.attempt, now=now, error=_GAVE_UP)
    is_long_ago = or_(Job.rung_at < now - RING_AGAIN_AFTER, Job.rung_at > now + RING_AGAIN_AFTER)
    is_late = or_(
        and_(Job.due_at.is_(None), is_long_ago), and_(Job.due_at.is_not(None), _is_due(now))
    )
    for job in _lock(and_(Job.status == "queued", Job.kind != GROUP, is_late)):
        job.rung_at, job.due_at = now, None
        after_commit(partial(ring, job.id))


_RELEASED: dict[str, Any] = {"worker_id": None, "lease_expires_at": None}
_GAVE_UP = f"The worker stopped {MAX_ATTEMPTS} times while it was at this. Retry, or report it."


def _lock(condition: ColumnElement[bool]) -> Sequence[Job]:
    query = select(Job).where(condition).order_by(Job.id).limit(SWEEP_LIMIT)
    return db.session.scalars(query.with_for_update(skip_locked=True)).all()


def _is_due(now: datetime) -> ColumnElement[bool]:
    is_near = Job.due_at <= now + LONGEST_WAIT  # else it was said by a clock that was wrong
    return or_(Job.due_at.is_(None), Job.due_at <= now, ~is_near)


def _held(job_id: int, attempt: int) -> ColumnElement[bool]:
    return and_(Job.id == job_id, Job.status == "running", Job.attempt == attempt)


def _finish(job_id: int, attempt: int, values: dict[str, Any], now: datetime) -> bool:
    finished = db.session.execute(update(Job).where(_held(job_id, attempt)).values(**values))
    if not row_count(finished):
        return False
    parent_id = db.session.scalar(select(Job.parent_id).where(Job.id == job_id))
    _advance_parent(parent_id, now)
    return True


def _advance_parent(parent_id: int | None, now: datetime) -> None:
    if parent_id is None:
        return
    # One child at a time counts: two that end together would each miss the other.
    parent = db.session.scalars(select(Job).where(Job.id == parent_id).with_for_update()).one()
    rows = db.session.execute(
        select(Job.status, func.count()).where(Job.parent_id == parent_id).group_by(Job.status)
    )
    by_status = dict(rows.all())
    total = sum(by_status.values())
    is_open = any(by_status.get(state) for state in OPEN_STATES)
    ended = total - sum(by_status.get(state, 0) for state in OPEN_STATES)
    failed = by_status.get("failed", 0)
    parent.progress = 100 * ended // total
    parent.started_at = parent.started_at or now
    parent.finished_at = None if is_open else now
    parent.error = f"{failed} of {total} failed." if failed else None
    parent.status = "running" if is_open else "failed" if failed else "completed"
