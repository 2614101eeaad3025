"""Which workers are alive: any at all, and those of the machine that asks."""

from __future__ import annotations

from datetime import datetime, timedelta

from apiflask import APIFlask

from billtrack.platform.db import transaction
from billtrack.platform.installation.operations import beat
from billtrack.platform.installation.queries import (
    SILENT_AFTER,
    machine_name,
    worker_is_alive,
    worker_is_alive_here,
)


def test_a_worker_elsewhere_is_none_of_this_machine(app: APIFlask, now: datetime) -> None:
    here = machine_name()
    for other in (f"other-{here}-1-a", f"{here}x-1-a", f"%{here}-1-a", "_" * len(here) + "-1-a"):
        with transaction():
            beat(other, now=now)
    assert worker_is_alive(now=now)
    assert not worker_is_alive_here(now=now)
    with transaction():
        beat(f"{here}-1-a", now=now)
    assert worker_is_alive_here(now=now)


def test_one_that_fell_silent_is_not_alive(app: APIFlask, now: datetime) -> None:
    with transaction():
        beat(f"{machine_name()}-1-a", now=now)
    last = now + SILENT_AFTER
    assert worker_is_alive_here(now=last - timedelta(seconds=1))
    assert not worker_is_alive_here(now=last)
