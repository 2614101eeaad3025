"""Is billtrack well? Answers without credentials and tells nothing secret."""

from __future__ import annotations

from typing import Any, Literal

import structlog
from apiflask import APIBlueprint
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from billtrack import __version__
from billtrack.accounts import access
from billtrack.platform.db import database_now
from billtrack.platform.extensions import db
from billtrack.platform.installation.parts import is_migrated
from billtrack.platform.installation.queries import worker_is_alive
from billtrack.platform.jobs.bell import queue_is_reachable

log = structlog.get_logger(__name__)
WORD = {True: "ok", False: "down"}
health = APIBlueprint("health", __name__, tag="System")


class Checks(BaseModel):
    """Each part: ok or down."""

    database: str
    queue: str
    worker: str


class Health(BaseModel):
    """The whole and its parts."""

    status: str
    version: str
    checks: Checks


class Liveness(BaseModel):
    """The process answers."""

    status: Literal["ok"]


class ReadyChecks(BaseModel):
    """What this process needs to serve: ok or down."""

    database: str
    migrations: str


class Readiness(BaseModel):
    """Whether this process can serve."""

    status: Literal["ready", "not_ready"]
    checks: ReadyChecks


@health.get("/api/v1/health/live")
@access.probe
@health.output(Liveness)
def show_liveness() -> dict[str, Any]:
    """Tell that the process answers.

    Touches nothing else: a process that does not answer this is to be started again.
    """
    return {"status": "ok"}


@health.get("/api/v1/health/ready")
@access.probe
@health.output(Readiness)
@health.doc(responses={503: "This process cannot serve"})
def show_readiness() -> tuple[dict[str, Any], int]:
    """Tell whether this process can serve: its database answers and is up to date.

    Queue and worker may be away: usage is still recorded and priced, and jobs wait.
    """
    database, is_current = _look_at_database()
    body = {
        "status": "ready" if is_current else "not_ready",
        "checks": {"database": WORD[database], "migrations": WORD[is_current]},
    }
    return body, 200 if is_current else 503


@health.get("/api/v1/health")
@access.probe
@health.output(Health)
@health.doc(responses={503: "A part that matters is down"})
def show_health() -> tuple[dict[str, Any], int]:
    """Tell how billtrack is.

    Without its worker billtrack still records and prices: only a missing database or queue
    makes the answer 503.
    """
    database = _database_answers()
    checks = {
        "database": database,
        "queue": queue_is_reachable(),
        "worker": database and worker_is_alive(now=database_now()),
    }
    is_ok = checks["database"] and checks["queue"]
    body = {
        "status": "ok" if is_ok else "down",
        "version": __version__,
        "checks": {name: WORD[fine] for name, fine in checks.items()},
    }
    return body, 200 if is_ok else 503


def _look_at_database() -> tuple[bool, bool]:
    """Tell whether the database answers, and whether it is up to date."""
    if not _database_answers():
        return False, False
    try:
        return True, is_migrated()
    except SQLAlchemyError as error:
        log.warning("database_unavailable", error=str(error))
        return False, False


def _database_answers() -> bool:
    try:
        db.session.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        log.warning("database_unavailable", error=str(error))
        return False
    return True
