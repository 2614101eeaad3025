"""/jobs: background work and how far it is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Breadth, Permission
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.schemas import Cursor, Limit, Query, from_cursor, page
from billtrack.platform.db import transaction
from billtrack.platform.jobs import operations, queries
from billtrack.platform.jobs.models import Job
from billtrack.platform.limits import Budget


class JobOut(BaseModel):
    """A job: queued, running, completed or failed."""

    id: int
    kind: str
    status: str
    progress: int
    attempt: int
    parent_id: int | None
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class JobList(BaseModel):
    """Jobs, the newest first."""

    data: list[JobOut]
    next_cursor: str | None


class JobQuery(Query):
    """Which jobs to list."""

    limit: Limit = 50
    cursor: Cursor | None = None


@api.get("/jobs")
@access.require(Permission.JOBS_READ)
@api.input(JobQuery, location="query")
@api.output(JobList)
def list_jobs(query_data: JobQuery) -> tuple[dict[str, Any], int, dict[str, str]]:
    """List jobs, the newest first."""
    jobs = queries.list_jobs(
        requested_by=_requested_by(Permission.JOBS_READ),
        before_id=from_cursor(query_data.cursor),
        limit=query_data.limit + 1,
    )
    return page([job_json(job) for job in jobs], limit=query_data.limit)


@api.get("/jobs/<id:job_id>")
@access.require(Permission.JOBS_READ)
@api.output(JobOut)
def show_job(job_id: int) -> dict[str, Any]:
    """Show one job."""
    return job_json(queries.get_job(job_id, requested_by=_requested_by(Permission.JOBS_READ)))


@api.post("/jobs/<id:job_id>/retry")
@access.require(Permission.JOBS_RETRY, budget=Budget.REPORTS)
@api.output(JobOut, 202)
@api.doc(responses={409: "The job has not failed"})
def retry_job(job_id: int) -> tuple[dict[str, Any], int]:
    """Queue a failed job once more."""
    requested_by = _requested_by(Permission.JOBS_RETRY)
    with transaction():
        job = queries.get_job(job_id, requested_by=requested_by)
        operations.retry(job, actor=access.actor(), now=datetime.now(UTC))
    return job_json(queries.get_job(job_id, requested_by=requested_by)), 202


def job_json(job: Job) -> dict[str, Any]:
    """Return the job as the API shows it."""
    return {
        "id": job.id,
        "kind": job.kind,
        "status": job.status,
        "progress": job.progress,
        "attempt": job.attempt,
        "parent_id": job.parent_id,
        "error": job.error,
        "created_at": job.created_at,
        "started_at": job.started_at,
        "finished_at": job.finished_at,
    }


def _requested_by(permission: Permission) -> int | None:
    reach = access.reach(permission)
    return None if reach.breadth is Breadth.ALL else reach.user_id
