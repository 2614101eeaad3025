"""Run one claimed job to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from billtrack.core.errors import BilltrackError, UnavailableError
from billtrack.platform.db import database_now, transaction
from billtrack.platform.jobs import operations
from billtrack.platform.metrics.counting import count_job

log = structlog.get_logger(__name__)

AWAY = (OperationalError, PoolTimeout, UnavailableError)
"""The database, or another part that a job needs, is away or busy."""


class TryLater(BilltrackError):
    """A job cannot be done for now, for this reason; it is to be taken again after a while."""

    code = "try_later"

    def __init__(self, detail: str, *, after: timedelta) -> None:
        super().__init__(detail)
        self.after = after


@dataclass(frozen=True, slots=True)
class Run:
    """One attempt at a job: what to do, for whom, and where to say how far it is."""

    job_id: int
    attempt: int
    payload: Mapping[str, Any]
    requested_by_id: int | None
    created_at: datetime

    def report_progress(self, percent: int) -> None:
        """Show the progress, 0 to 100, in a transaction of its own."""
        with transaction():
            operations.report_progress(self.job_id, self.attempt, percent)


Handler = Callable[[Run], Callable[[], None]]
"""Does the work and returns what to store with the completion, in its transaction.

What it returns runs only if the attempt still holds the job: a worker that wakes late
changes nothing.
"""


class Runner:
    """Runs jobs as one worker process, with a handler for every kind."""

    def __init__(self, handlers: Mapping[str, Handler], *, worker_id: str) -> None:
        self.worker_id = worker_id
        self._handlers = handlers
        self._running: set[tuple[int, int]] = set()

    def running(self) -> set[tuple[int, int]]:
        """Return job and attempt of what runs now, whose leases are to be renewed."""
        return set(self._running)

    def run(self, job_id: int) -> None:
        """Claim the job and run it; whatever happens ends in its row, never in an exception.

        An expected error fails the job with its text. When a part that it needs is away, the
        row stays as it is: the lease runs out, and the sweep takes the job up.
        """
        structlog.contextvars.bind_contextvars(job_id=job_id)
        try:
            self._run_claimed(job_id)
        except AWAY as error:
            log.warning("job_interrupted", error=str(error))
        finally:
            structlog.contextvars.unbind_contextvars("job_id")

    def _run_claimed(self, job_id: int) -> None:
        with transaction():
            job = operations.claim(job_id, worker_id=self.worker_id, now=database_now())
        if job is None:
            return
        run = Run(job.id, job.attempt, job.payload, job.requested_by_id, job.created_at)
        kind = job.kind  # the row cannot be asked any more when the database is away
        self._running.add((run.job_id, run.attempt))
        result, started = "interrupted", time.perf_counter()
        try:
            result = self._run_handler(kind, run)
        finally:
            self._running.discard((run.job_id, run.attempt))
            count_job(kind=kind, result=result, seconds=time.perf_counter() - started)

    def _run_handler(self, kind: str, run: Run) -> str:
        """Return how it ended: completed, failed, postponed, or superseded by a later attempt."""
        try:
            store = self._handlers[kind](run)
            with transaction():
                if not operations.mark_completed(run.job_id, run.attempt, now=database_now()):
                    return "superseded"
                store()
            return "completed"
        except AWAY:
            raise
        except TryLater as error:
            return self._postpone(run, error)
        except BilltrackError as error:
            return self._fail(run, error.detail)
        except Exception:
            log.exception("job_crashed")
            return self._fail(run, "Something unexpected happened; the log of the worker has it.")

    def _postpone(self, run: Run, error: TryLater) -> str:
        with transaction():
            now = database_now()
            is_held = operations.postpone(
                run.job_id, run.attempt, reason=error.detail, due_at=now + error.after, now=now
            )
        return "postponed" if is_held else "superseded"

    def _fail(self, run: Run, reason: str) -> str:
        with transaction():
            is_held = operations.mark_failed(
                run.job_id, run.attempt, error=reason, now=database_now()
            )
        return "failed" if is_held else "superseded"
