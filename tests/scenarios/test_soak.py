"""Writers whose batches overlap, while web and database die: each key counts once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.effort import times
from tests.scenarios.harness import Installation
from tests.scenarios.soak import Soak
from tests.services import PostgresServer, start_postgres

SECONDS = 0.0  # each dies once; `make soak` goes on for minutes

SEEDS = range(6, 6 + times(1))
"""In the names of the tests: what chance decides, `make soak ARGS='--seed 6'` decides again."""

pytestmark = [pytest.mark.timeout(240), pytest.mark.parametrize("seed", SEEDS)]


def test_each_key_counts_once_while_the_web_is_killed(
    sqlite_template: Path, tmp_path: Path, seed: int
) -> None:
    shutil.copy(sqlite_template, tmp_path / "billtrack.db")
    installation = Installation(tmp_path)
    soak = Soak(installation, seed=seed)
    soak.run(seconds=SECONDS, database=None)
    installation.close()
    assert soak.deaths["web"] >= 1


def test_each_key_counts_once_while_web_and_database_are_killed(tmp_path: Path, seed: int) -> None:
    database = start_postgres()
    if not isinstance(database, PostgresServer):
        pytest.skip("this PostgreSQL is not ours to stop")
    installation = Installation(tmp_path, database_url=database.create_database("soak"))
    assert installation.run("init").returncode == 0
    soak = Soak(installation, seed=seed)
    soak.run(seconds=SECONDS, database=database)
    installation.close()
    database.close()
    assert min(soak.deaths["web"], soak.deaths["database"]) >= 1
