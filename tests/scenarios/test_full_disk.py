"""The disk of the documents is full: the job says so, and is done once there is room."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.operations import retry
from tests.cast import SYSTEM
from tests.scenarios.harness import Installation, Running, eventually
from tests.scenarios.jobs import (
    assert_files_are_whole,
    attempts,
    create_busy_customer,
    request_reports,
    statuses,
    wait_for_all,
)

REPORTS = 2
TOO_LITTLE = 8192
CAP_SYS_ADMIN = 21


@pytest.fixture
def small_disk(installation: Installation) -> Iterator[Path]:
    """A disk of a megabyte for the documents of an installation, all but full."""
    folder = installation.folder / "reports"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(folder)]
    mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    if mounted.returncode != 0:
        what = f"needs the right to mount a tmpfs: {mounted.stderr.strip()}"
        assert not may_mount(), what
        pytest.skip(what)
    filler = folder / "filler"
    filler.write_bytes(bytes(shutil.disk_usage(folder).free - TOO_LITTLE))
    yield filler
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def may_mount() -> bool:
    """Tell whether this machine lets us mount at all; in most containers root may not.

    Where it does not, there is no other full disk under a SQLite installation: a limit to the
    size of files (the other test, which runs everywhere) would stop its database, too.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return False
    (held,) = re.findall(r"^CapEff:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE)
    return bool(int(held, 16) >> CAP_SYS_ADMIN & 1)


@contextmanager
def files_end_early(worker: Running) -> Iterator[None]:
    """Let no file of the worker grow, as on a full disk; what it renders with may go on."""
    before = resource.prlimit(worker.pid, resource.RLIMIT_FSIZE)
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, (TOO_LITTLE, before[1]))
    yield
    resource.prlimit(worker.pid, resource.RLIMIT_FSIZE, before)


def files(installation: Installation) -> list[str]:
    """Return the names of all documents, whole or not."""
    found = (installation.folder / "reports").rglob("*")
    return [path.name for path in found if path.is_file() and path.name != "filler"]


def assert_they_failed_clearly(installation: Installation, worker: Running) -> None:
    eventually(lambda: set(statuses(installation)) == {"failed"}, lambda: worker.text)
    with installation.inside():
        reasons = set(db.session.scalars(select(Job.error)))
    assert len(reasons) == 1
    reason = str(reasons.pop())
    assert "could not be written: " in reason
    assert "Make room" in reason
    assert str(installation.folder) not in reason
    assert files(installation) == []
    assert "Traceback" not in worker.text


def retry_all(installation: Installation) -> None:
    now = datetime.now(UTC)
    with installation.inside(), transaction() as session:
        for job in session.scalars(select(Job)):
            retry(job, actor=SYSTEM, now=now)


@pytest.mark.parametrize("installation", ["sqlite"], indirect=True)
def test_a_report_is_made_once_there_is_room_on_the_disk(
    installation: Installation, small_disk: Path
) -> None:
    create_busy_customer(installation)
    request_reports(installation, REPORTS, days=30)
    with installation.start("worker") as worker:
        assert_they_failed_clearly(installation, worker)
        small_disk.unlink()
        retry_all(installation)
        wait_for_all(installation, worker)
    assert attempts(installation) == [2] * REPORTS
    assert_files_are_whole(installation)


@pytest.mark.parametrize("installation", ["postgresql+redis"], indirect=True)
def test_a_report_is_made_once_files_may_grow(installation: Installation) -> None:
    create_busy_customer(installation)
    with installation.start("worker") as worker:
        worker.wait_for("worker_started")
        with files_end_early(worker):
            request_reports(installation, REPORTS, days=30)
            assert_they_failed_clearly(installation, worker)
        retry_all(installation)
        wait_for_all(installation, worker)
    assert attempts(installation) == [2] * REPORTS
    assert_files_are_whole(installation)
