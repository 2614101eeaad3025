"""The definitions of events, and those that every new database starts with."""

from __future__ import annotations

from collections.abc import Sequence

from flask import current_app
from sqlalchemy import select

from billtrack.core.errors import NotFoundError
from billtrack.platform.extensions import db
from billtrack.usage.records.models import Meter

EXTENSION = "billtrack.known_meters"
HOUR = 3600
STANDARD_METERS = (
    ("api_calls", "API calls", "call", "calls", 1),
    ("vm_uptime", "VM uptime", "second", "h", HOUR),
    ("cpu_time", "CPU time", "CPU-second", "CPU-h", HOUR),
    ("data_storage", "Data storage", "GB-hour", "GB·h", 1),
)


_IDS = select(Meter.code, Meter.id).order_by(Meter.id)


class MeterNotFound(NotFoundError):
    """No event has this code."""

    code = "meter_not_found"

    def __init__(self, code: str) -> None:
        super().__init__(f"There is no meter {code}.")


def list_meters() -> Sequence[Meter]:
    """Return every meter in the order in which statements show them."""
    return db.session.scalars(select(Meter).order_by(Meter.id)).all()


def meter_ids() -> dict[str, int]:
    """Return the ids of all meters by their codes, in the order in which statements show them."""
    rows = db.session.execute(_IDS)
    return {row.code: row.id for row in rows}


def known_meters() -> dict[str, int]:
    """Return the ids of meters by code that this process has met, to be added to.

    A code keeps its id unless the database is replaced: whoever relies on it makes sure of it.
    """
    known: dict[str, int] = current_app.extensions.setdefault(EXTENSION, {})
    return known


def get_meter(code: str) -> Meter:
    """Return the meter with this code; raises MeterNotFound."""
    meter = db.session.scalar(select(Meter).where(Meter.code == code))
    if meter is None:
        raise MeterNotFound(code)
    return meter


def create_standard_meters() -> None:
    """Add the four meters of a new database; those that are there stay as they are."""
    known = {meter.code for meter in list_meters()}
    for code, name, base_unit, display_unit, factor in STANDARD_METERS:
        if code not in known:
            db.session.add(
                Meter(
                    code=code,
                    name=name,
                    base_unit=base_unit,
                    display_unit=display_unit,
                    display_factor=factor,
                )
            )
    db.session.flush()
