"""Read what the database says about itself."""

from __future__ import annotations

import socket
from datetime import datetime, timedelta

from sqlalchemy import select

from billtrack.core.errors import BilltrackError
from billtrack.platform.extensions import db
from billtrack.platform.installation.models import Installation, WorkerHeartbeat

SILENT_AFTER = timedelta(seconds=45)


class TimezoneMismatch(BilltrackError):
    """The setting differs from the zone that this database bills in."""

    code = "timezone_mismatch"


def find_installation() -> Installation | None:
    """Return the one row, or None before `billtrack init`."""
    return db.session.get(Installation, 1)


def has_demo_data() -> bool:
    """Tell whether the demo's customers and usage are in the database."""
    found = find_installation()
    return found is not None and found.demo_loaded_at is not None


def require_timezone(timezone: str) -> None:
    """Raise TimezoneMismatch when the setting is not what the database was made with.

    Every rollup is cut by that zone; another would put usage into other days and months.
    """
    found = find_installation()
    if found is not None and found.timezone != timezone:
        raise TimezoneMismatch(
            f"This database bills in {found.timezone}, but BILLTRACK_TIMEZONE says {timezone}. "
            f"Set BILLTRACK_TIMEZONE={found.timezone}; the zone of a database never changes."
        )


def worker_is_alive(*, now: datetime) -> bool:
    """Tell whether any worker process was seen within 45 seconds."""
    query = select(WorkerHeartbeat.worker_id).where(WorkerHeartbeat.seen_at > now - SILENT_AFTER)
    return db.session.scalar(query.limit(1)) is not None


def worker_is_alive_here(*, now: datetime) -> bool:
    """Tell whether a worker process of this machine was seen within 45 seconds.

    A container is a machine of its own: its host name is unique, so that each of many
    containers with workers can be asked about itself.
    """
    query = select(WorkerHeartbeat.worker_id).where(
        WorkerHeartbeat.seen_at > now - SILENT_AFTER,
        WorkerHeartbeat.worker_id.startswith(f"{machine_name()}-", autoescape=True),
    )
    return db.session.scalar(query.limit(1)) is not None


def machine_name() -> str:
    """Return what the ids of this machine's workers begin with."""
    return socket.gethostname()[:40]
