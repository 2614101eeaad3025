"""Is billtrack well? Answers without credentials and tells nothing secret."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import structlog
from apiflask import APIBlueprint
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from billtrack import __version__, access
from billtrack.extensions import db
from billtrack.installation.queries import worker_is_alive
from billtrack.jobs.bell import queue_is_reachable

log = structlog.get_logger(__name__)
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


@health.get("/api/v1/health")
@access.public
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
        "worker": database and worker_is_alive(now=datetime.now(UTC)),
    }
    is_ok = checks["database"] and checks["queue"]
    body = {
        "status": "ok" if is_ok else "down",
        "version": __version__,
        "checks": {name: "ok" if fine else "down" for name, fine in checks.items()},
    }
    return body, 200 if is_ok else 503


def _database_answers() -> bool:
    try:
        db.session.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        log.warning("database_unavailable", error=str(error))
        return False
    return True
