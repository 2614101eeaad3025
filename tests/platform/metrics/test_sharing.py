"""Processes of one command count in one folder, which goes when the command ends."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from billtrack.platform.metrics.sharing import PREFIX, VARIABLE, shared_counts
from tests.scenarios.harness import Running

HOLDS = """
import time
from billtrack.platform.metrics.sharing import shared_counts
with shared_counts():
    print("counting", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Temporary folders of the test alone, and an environment that asks for metrics."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setenv("BILLTRACK_METRICS_TOKEN", "a token of the tests alone")
    return tmp_path


def test_the_folder_lives_as_long_as_the_block(place: Path) -> None:
    with shared_counts():
        (folder,) = place.glob(f"{PREFIX}*")
        assert os.environ[VARIABLE] == str(folder)
        with shared_counts():  # as in a process that was started inside
            assert list(place.iterdir()) == [folder]
    assert list(place.iterdir()) == []
    assert VARIABLE not in os.environ


def test_without_a_token_nothing_is_made(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BILLTRACK_METRICS_TOKEN")
    with shared_counts():
        assert VARIABLE not in os.environ
        assert list(place.iterdir()) == []
    monkeypatch.setenv("BILLTRACK_METRICS_TOKEN_FILE", "a file")
    with shared_counts():
        assert VARIABLE in os.environ


def test_a_folder_is_left_alone_while_its_command_lives_and_removed_after_it_was_killed(
    place: Path,
) -> None:
    environment = {**os.environ, "TMPDIR": str(place)}
    with Running([sys.executable, "-c", HOLDS], environment) as other:
        other.wait_for("counting")
        with shared_counts():
            assert len(list(place.iterdir())) == 2
        (its_own,) = place.iterdir()
        other.kill9()
        assert its_own.exists()
        with shared_counts():
            (mine,) = place.iterdir()
            assert mine != its_own


def test_it_does_not_import_what_looks_into_the_environment_once() -> None:
    imported = "import billtrack.entrypoints.server.granian, sys"
    code = f"{imported}; sys.exit('prometheus_client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
