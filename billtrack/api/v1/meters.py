"""/meters: what can be recorded."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.api.v1.blueprint import api
from billtrack.usage.records import meters
from billtrack.usage.records.models import Meter


class MeterOut(BaseModel):
    """The definition of an event; `display_factor` base units are one display unit."""

    code: str
    name: str
    base_unit: str
    display_unit: str
    display_factor: int
    aggregation: str


class MeterList(BaseModel):
    """Every meter."""

    data: list[MeterOut]
    next_cursor: str | None


@api.get("/meters")
@access.require(Permission.METERS_READ)
@api.output(MeterList)
def list_meters() -> dict[str, Any]:
    """List the meters in the order of statements."""
    return {"data": [_meter_json(meter) for meter in meters.list_meters()], "next_cursor": None}


@api.get("/meters/<code:code>")
@access.require(Permission.METERS_READ)
@api.output(MeterOut)
def show_meter(code: str) -> dict[str, Any]:
    """Show one meter."""
    return _meter_json(meters.get_meter(code))


def _meter_json(meter: Meter) -> dict[str, Any]:
    return {
        "code": meter.code,
        "name": meter.name,
        "base_unit": meter.base_unit,
        "display_unit": meter.display_unit,
        "display_factor": meter.display_factor,
        "aggregation": "sum",
    }
