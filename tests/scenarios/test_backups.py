"""Backups as real processes: killed halfway, taken of what runs, restored and gone on with."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest
from flask import current_app
from sqlalchemy import select

from billtrack.documents.reports.models import Report
from billtrack.platform.db import transaction
from billtrack.platform.jobs.models import Job
from billtrack.platform.storage.storage import Storage
from tests.scenarios.harness import Installation, Running, eventually
from tests.scenarios.jobs import (
    create_busy_customer,
    let_the_ring_die_away,
    request_reports,
    statuses,
    wait_for_all,
)
from tests.services import PostgresServer, RedisServer, find_postgres_programs, unique_name

# Runs a command of billtrack, and ends it by kill -9 as soon as something happens whose audit
# event and arguments have these words.
DYING = """
import os, signal, sys
from billtrack.entrypoints.cli import main
event, words = sys.argv.pop(1), sys.argv.pop(1)
def look(name, arguments):
    if name == event and words in str(arguments):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(look)
main.main()
"""


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pg_dump and pg_restore be those of the server, in installations made from here on."""
    if folder := find_postgres_programs():
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def second(
    installation: Installation,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Installation]:
    """An empty installation of the same kind, with a secret and a queue of its own."""
    folder = tmp_path_factory.mktemp("second")
    with contextlib.ExitStack() as cleaning:
        services = {}
        if installation.settings.database_url is not None:
            server: PostgresServer = request.getfixturevalue("postgres")
            queue: RedisServer = request.getfixturevalue("redis")
            name = unique_name()
            services = {"database_url": server.create_database(name), "redis_url": queue.url}
            cleaning.callback(server.drop_database, name)
        made = Installation(folder, **services)
        cleaning.callback(made.close)
        yield made


def run(installation: Installation, *arguments: str) -> str:
    result = installation.run(*arguments)
    assert result.returncode == 0, result.stderr
    return result.stdout


def finish(installation: Installation, job_id: int) -> str:
    """Let a job be completed, as a worker would leave it; return the path of its file."""
    with installation.inside():
        storage: Storage = current_app.extensions["billtrack.storage"]
        stored = storage.put(f"{job_id}/1/user-1.pdf", b"made before the backup")
        with transaction() as session:
            report = session.scalars(select(Report).where(Report.job_id == job_id)).one()
            report.path, report.size, report.sha256 = stored.path, stored.size, stored.sha256
            session.get_one(Job, job_id).status = "completed"
    return stored.path


def test_what_waited_in_the_queue_is_done_after_a_restore(
    installation: Installation, second: Installation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("backups") / "b.tar"
    create_busy_customer(installation)
    done, *_ = request_reports(installation, 3, days=5)
    path = finish(installation, done)
    assert "1 documents" in run(installation, "backup", str(file))
    said = run(second, "restore", str(file))
    assert "All counts and totals equal the manifest" in said
    assert "1460 rollups of 2 users equal their records" in said
    assert statuses(second) == ["completed", "queued", "queued"]
    assert (second.folder / "reports" / path).read_bytes() == b"made before the backup"
    let_the_ring_die_away(second)
    with second.start("worker") as worker:
        wait_for_all(second, worker)
    made = sorted((second.folder / "reports").rglob("*.pdf"))
    assert [file.read_bytes()[:5] for file in made] == [b"made ", b"%PDF-", b"%PDF-"]


@pytest.mark.parametrize(
    ("installation", "dies"),
    [
        pytest.param("postgresql+redis", ("subprocess.Popen", "--snapshot"), id="halfway"),
        pytest.param("sqlite", ("os.rename", "b.tar"), id="at the end"),
    ],
    indirect=["installation"],
)
def test_a_backup_that_is_killed_leaves_no_file_under_its_name(
    installation: Installation,
    dies: tuple[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("backups")
    command = [sys.executable, "-P", "-c", DYING, *dies, "backup", str(folder / "b.tar")]
    with Running(command, installation.environment) as backup:
        assert backup.wait() == -signal.SIGKILL, backup.text
    (left,) = folder.iterdir()
    assert left.name.startswith(".billtrack-backup-")
    assert left.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("installation", ["sqlite"], indirect=True)
def test_a_restore_that_is_killed_can_be_repeated(
    installation: Installation, second: Installation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("backups") / "b.tar"
    create_busy_customer(installation)
    run(installation, "backup", str(file))
    command = [
        sys.executable,
        "-P",
        "-c",
        DYING,
        "os.rename",
        "billtrack.db",
        "restore",
        str(file),
    ]
    with Running(command, second.environment) as restore:
        assert restore.wait() == -signal.SIGKILL, restore.text
    assert not (second.folder / "billtrack.db").exists()
    run(second, "restore", str(file))


@pytest.mark.parametrize("installation", ["sqlite"], indirect=True)
def test_a_backup_of_what_runs_is_restored_only_where_nothing_does(
    installation: Installation, second: Installation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.mktemp("backups") / "b.tar"
    create_busy_customer(installation)
    installation.close()
    with installation.start("worker") as worker:
        worker.wait_for("worker_started")
        run(installation, "backup", str(file))
        for name in (
            "billtrack.db",
            "billtrack.db-wal",
            "billtrack.db-shm",
        ):
            (installation.folder / name).unlink(missing_ok=True)
        refused = installation.run("restore", str(file))
        assert refused.returncode == 1
        assert "Stop billtrack first" in refused.stderr
    run(second, "restore", str(file))
    assert run(second, "verify") == "1460 rollups of 2 users equal their records.\n"


@pytest.mark.parametrize("installation", ["postgresql+redis"], indirect=True)
def test_the_password_stands_on_no_command_line(
    installation: Installation, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert installation.settings.database_url is not None
    folder = tmp_path_factory.mktemp("programs")
    spy = folder / "pg_dump"
    spy.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && { echo "pg_dump (PostgreSQL) 99"; exit; }\n'
        f'echo "$@" > {folder}/arguments; echo "$PGPASSWORD" > {folder}/password; exit 1\n'
    )
    spy.chmod(0o755)
    url = installation.settings.database_url.get_secret_value()
    environment = {
        **installation.environment,
        "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
        "DATABASE_URL": url.replace("postgres@", "postgres:open-sesame@"),
    }
    command = [
        sys.executable,
        "-P",
        "-m",
        "billtrack.entrypoints.cli.main",
        "backup",
        str(folder / "b.tar"),
    ]
    subprocess.run(command, env=environment, capture_output=True, check=False)
    eventually((folder / "password").exists, "pg_dump")
    assert "open-sesame" not in (folder / "arguments").read_text()
    assert (folder / "password").read_text() == "open-sesame\n"
