"""Migrate the database and put in what every installation has."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from flask_migrate import upgrade
from sqlalchemy import func, select

from billtrack.accounts.users.queries import has_administrator
from billtrack.billing.plans.operations import create_standard_plan
from billtrack.core.periods import BillingCalendar, Month
from billtrack.platform import audit
from billtrack.platform.config import Settings
from billtrack.platform.db import end_read, transaction
from billtrack.platform.extensions import db
from billtrack.platform.installation.operations import create_installation, issue_setup_token
from billtrack.platform.installation.queries import require_timezone
from billtrack.usage.records.meters import create_standard_meters

SYSTEM = audit.Actor()
LOCK = 6_009_000_002
"""The advisory lock of PostgreSQL; migrations have one of their own."""


def initialise(settings: Settings, *, now: datetime) -> None:
    """Bring the database up to date; needs an app context. Again changes nothing.

    One process at a time does it, on however many machines. Raises TimezoneMismatch for a
    database that bills in another zone than the setting says.
    """
    with alone(settings):
        upgrade()
        require_timezone(settings.timezone)
        end_read()
        month = Month.of(BillingCalendar(settings.timezone).today(now))
        with transaction():
            _wait_for_other_machines()
            create_installation(timezone=settings.timezone, now=now)
            create_standard_meters()
            create_standard_plan(actor=SYSTEM, now=now, effective_from=month.first)


def setup_link(settings: Settings) -> str | None:
    """Return a new one-time link that creates the first administrator, if there is none."""
    if has_administrator():
        return None
    with transaction():
        token = issue_setup_token()
    return f"{settings.public_url}/set-up?token={token}"


def _wait_for_other_machines() -> None:
    if db.engine.dialect.name == "postgresql":
        db.session.execute(select(func.pg_advisory_xact_lock(LOCK)))


@contextmanager
def alone(settings: Settings) -> Iterator[None]:
    """Wait until no other process of this machine sets this installation up; keep others out."""
    with (settings.data_dir / "init.lock").open("w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
