"""Read jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select

from billtrack.core.errors import NotFoundError
from billtrack.platform.db import UTCDateTime
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import STATES, Job
from billtrack.platform.jobs.operations import GROUP

_waits_since = func.coalesce(Job.due_at, Job.started_at, Job.created_at)


@dataclass(frozen=True, slots=True)
class QueueState:
    """How many jobs there are in each state, and how long the one waits that waits longest."""

    by_status: Mapping[str, int]
    oldest_wait: timedelta


class JobNotFound(NotFoundError):
    """There is no such job, or it is not theirs."""

    code = "job_not_found"

    def __init__(self, job_id: int) -> None:
        super().__init__(f"There is no job {job_id} that you can see.")


def get_job(job_id: int, *, requested_by: int | None) -> Job:
    """Return the job; `requested_by` limits it to one account. Raises JobNotFound."""
    job = db.session.get(Job, job_id, populate_existing=True)
    if job is None or (requested_by is not None and job.requested_by_id != requested_by):
        raise JobNotFound(job_id)
    return job


def is_held(job_id: int, attempt: int) -> bool:
    """Tell whether this attempt is still the one at the job."""
    held = (Job.id == job_id, Job.status == "running", Job.attempt == attempt)
    return db.session.scalar(select(Job.id).where(*held)) is not None


def list_jobs(
    *, requested_by: int | None, before_id: int | None = None, limit: int = 50
) -> Sequence[Job]:
    """Return up to `limit` jobs with an id below `before_id`, the newest first."""
    query = select(Job).order_by(Job.id.desc()).limit(limit)
    if requested_by is not None:
        query = query.where(Job.requested_by_id == requested_by)
    if before_id is not None:
        query = query.where(Job.id < before_id)
    return db.session.scalars(query).all()


def count_queued(kind: str) -> int:
    """Return how many jobs of this kind wait."""
    query = select(func.count()).select_from(Job).where(Job.status == "queued", Job.kind == kind)
    return db.session.scalar(query) or 0


def read_queue(*, now: datetime) -> QueueState:
    """Return the state of the queue; parents are no part of it, for nobody runs them.

    A job waits since it was made or its last attempt began, one that was postponed since it
    is due.
    """
    # Else a job that is tried again today would seem to wait since its first day.
    since = func.min(_waits_since, type_=UTCDateTime())
    query = select(Job.status, func.count(), since).where(Job.kind != GROUP).group_by(Job.status)
    rows = {status: (number, oldest) for status, number, oldest in db.session.execute(query)}
    _, oldest = rows.get("queued", (0, None))
    return QueueState(
        by_status={status: rows.get(status, (0, None))[0] for status in STATES},
        oldest_wait=max(now - oldest, timedelta()) if oldest else timedelta(),
    )
