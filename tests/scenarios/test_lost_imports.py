"""A worker dies in the middle of an import: the next one adds the rest, and counts it right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask import current_app
from sqlalchemy import func, select

from billtrack.accounts.users.permissions import Role
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.usage.imports.models import UsageImport
from billtrack.usage.imports.operations import request_import, store_file
from billtrack.usage.imports.taking import BLOCK
from billtrack.usage.ingest.intake import submit_one
from billtrack.usage.records.models import UsageDaily, UsageRecord
from billtrack.usage.records.submissions import UsageInput
from tests.cast import SYSTEM, Member, create_user, terms
from tests.scenarios.harness import Installation, eventually
from tests.scenarios.jobs import let_leases_run_out, let_the_ring_die_away, wait_for_all

NOW = datetime.now(UTC)
FIRST, SECOND = NOW - timedelta(days=3), NOW - timedelta(days=2)
LINES = 3 * BLOCK
"""Two blocks of the first day and one of the second; every hundredth line is wrong."""
REFUSED = LINES // 100
TOTAL = sum(number for number in range(LINES) if number % 100)


def request(installation: Installation) -> None:
    """Queue the import, for a customer that has used one call on the second day."""
    with installation.inside():
        customer = create_user(email="customer@test.example")
        provider = create_user(role=Role.PROVIDER, email="provider@test.example")
        call = UsageInput(customer.id, "api_calls", 1, SECOND)
        submit_one(call, terms=terms(Member(provider, "")))
        days = [
            FIRST.isoformat() if number < 2 * BLOCK else SECOND.isoformat()
            for number in range(LINES)
        ]
        rows = [
            f"{customer.id},api_calls,{number if number % 100 else 'x'},{day}"
            for number, day in enumerate(days)
        ]
        content = "\n".join(["user_id,event,quantity,occurred_at", *rows]).encode()
        file = store_file(current_app.extensions["billtrack.storage"], content)
        with transaction():
            asked: dict[str, Any] = {"recorded_by_id": provider.id, "actor": SYSTEM, "now": NOW}
            request_import(file, filename="usage.csv", is_dry_run=False, **asked)


def counts(installation: Installation) -> tuple[int, int, int]:
    """Return how many lines are said to be added, known before and refused."""
    with installation.inside():
        found = db.session.scalars(select(UsageImport)).one()
        return found.accepted, found.duplicate, found.refused


@contextmanager
def second_day_held(installation: Installation) -> Iterator[None]:
    """Let whoever adds to the second day wait."""
    with installation.inside(), transaction() as session:
        held = select(UsageDaily).where(UsageDaily.day == SECOND.date())
        session.scalars(held.with_for_update()).one()
        yield


@pytest.mark.parametrize("installation", ["postgresql+redis"], indirect=True)
def test_it_adds_every_line_once_after_kill_9_of_the_worker(installation: Installation) -> None:
    request(installation)
    with second_day_held(installation), installation.start("worker") as worker:
        eventually(lambda: sum(counts(installation)) == 2 * BLOCK, lambda: worker.text)
        worker.kill9()
    # The server may go on with what it was sent: then it is stored, and nobody has noted it.
    let_leases_run_out(installation)
    let_the_ring_die_away(installation)
    with installation.start("worker") as worker:
        wait_for_all(installation, worker)
    assert counts(installation) == (LINES - REFUSED, 0, REFUSED)
    with installation.inside():
        stored = db.session.execute(select(func.count(), func.sum(UsageRecord.quantity))).one()
        rolled_up = db.session.scalars(select(func.sum(UsageDaily.quantity))).one()
    assert (*stored, rolled_up) == (LINES - REFUSED + 1, TOTAL + 1, TOTAL + 1)
