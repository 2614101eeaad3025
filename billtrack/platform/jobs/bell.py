"""Huey carries the number of a job and nothing else; the row is the truth."""

from __future__ import annotations

import logging
import sqlite3

import structlog
from flask import Flask, current_app
from huey import Huey
from huey.storage import SqliteStorage
from redis import RedisError

TASK = "billtrack.run_job"
RUNNER = "billtrack.runner"
AWAY = (RedisError, sqlite3.Error)
"""What the queue raises when it cannot be reached."""
log = structlog.get_logger(__name__)


def bind(app: Flask, huey: Huey) -> None:
    """Make running a job the one task of this queue.

    Only a worker has a runner; see `billtrack.entrypoints.worker.worker`.
    """

    def run_job(job_id: int) -> None:
        with app.app_context():
            app.extensions[RUNNER].run(job_id)

    app.extensions["huey"] = huey
    app.extensions[TASK] = huey.task(name="run_job")(run_job)


def ring(job_id: int) -> None:
    """Tell a worker about a queued job.

    With the queue away the job stays queued in its row, and the sweep rings again.
    """
    try:
        current_app.extensions[TASK](job_id)
    except AWAY as error:
        log.warning("queue_unavailable", job_id=job_id, error=str(error))


def queue_is_reachable() -> bool:
    """Tell whether the queue answers."""
    try:
        current_app.extensions["huey"].pending_count()
    except AWAY:
        return False
    return True


def mend_queue() -> None:
    """Make the tables of the embedded queue anew, where its file was removed under a worker."""
    storage = current_app.extensions["huey"].storage
    if isinstance(storage, SqliteStorage):
        try:
            storage.initialize_schema()
        except AWAY as error:
            log.warning("queue_not_mended", error=str(error))


def hush(record: logging.LogRecord) -> bool:
    """Filter out that Huey's threads cannot reach the queue: a traceback each, several a second."""
    return record.exc_info is None or not isinstance(record.exc_info[1], AWAY)
