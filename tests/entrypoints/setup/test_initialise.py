"""Setting a database up: again, by several at once, and after kill -9 in the middle."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from billtrack.billing.plans.models import Plan, PlanVersion
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.installation.models import Installation as InstallationRow
from billtrack.usage.records.models import Meter
from tests.scenarios.harness import Installation, Running
from tests.services import PostgresServer, unique_name

SEVERAL = 3
Make = Callable[[str], Installation]

# Runs a command of billtrack, and ends it by kill -9 when it has sent what begins with the words.
DYING = """
import os, signal, sys
from sqlalchemy import Engine, event
from billtrack.entrypoints.cli import main
words = sys.argv.pop(1)
def look(statement):
    if " ".join(statement.split()).startswith(words):
        os.kill(os.getpid(), signal.SIGKILL)
@event.listens_for(Engine, "after_cursor_execute")
def look_after(_connection, _cursor, statement, *_rest):
    look(statement)
@event.listens_for(Engine, "connect")
def look_before(connection, _record):
    if "usage_records" in words and hasattr(connection, "set_trace_callback"):
        connection.set_trace_callback(look)  # SQLite's own driver writes these
main.main()
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Make installations on one empty database: in one folder, or as several machines would."""
    with contextlib.ExitStack() as cleaning:
        url = None
        if request.param == "postgresql":
            server: PostgresServer = request.getfixturevalue("postgres")
            name = unique_name()
            url = server.create_database(name)
            cleaning.callback(server.drop_database, name)

        def make(machine: str) -> Installation:
            made = Installation(tmp_path / (machine if url else "data"), database_url=url)
            cleaning.callback(made.close)
            return made

        yield make


def assert_is_set_up(installation: Installation) -> None:
    expected = {InstallationRow: 1, Meter: 4, Plan: 1, PlanVersion: 1}
    with installation.inside():
        found = {m: db.session.scalar(select(func.count()).select_from(m)) for m in expected}
    assert found == expected


def forget_the_installation(installation: Installation) -> None:
    """Leave the tables alone, so that several arrive at filling them at the same time."""
    with installation.inside(), transaction() as session:
        session.delete(session.get_one(InstallationRow, 1))


@pytest.mark.by_chance
def test_several_that_start_at_once_set_it_up_together(make: Make) -> None:
    machines = [make(f"machine-{number}") for number in range(SEVERAL)]
    for step in ("tables and rows", "rows"):
        with contextlib.ExitStack() as running:
            started = [running.enter_context(machine.start("init")) for machine in machines]
            for process in started:
                assert process.wait() == 0, f"{step}: {process.text}"
        assert_is_set_up(machines[0])
        forget_the_installation(machines[0])


def test_it_goes_on_after_kill_9_in_the_middle(make: Make) -> None:
    machine = make("machine")
    for words in ("CREATE TABLE usage_daily", "INSERT INTO alembic_version"):
        command = [sys.executable, "-c", DYING, words, "init"]
        with Running(command, machine.environment) as init:
            assert init.wait() == -signal.SIGKILL, f"{words}: {init.text}"
    result = machine.run("init")
    assert result.returncode == 0, result.stderr
    assert_is_set_up(machine)
