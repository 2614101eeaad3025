"""A backup is one instant of everything, in one file that appears whole, for nobody else."""

from __future__ import annotations

import os
import shutil
import tarfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from apiflask import APIFlask

from billtrack.core.errors import ConflictError
from billtrack.entrypoints.backups.archive import open_backup
from billtrack.entrypoints.backups.postgresql import DumpFailed, ProgramMissing
from billtrack.entrypoints.backups.taking import WORKSHOP, BackupFailed, take_backup
from billtrack.platform.extensions import current_settings
from billtrack.usage.ingest.intake import submit
from billtrack.usage.records.submissions import UsageInput
from tests.cast import Cast, create_record, terms
from tests.entrypoints.backups.worlds import Take, create_document, every_row, restore, storage_of
from tests.usage.racing import in_threads

ENOUGH = 12
"""Batches recorded while backups are taken."""


def test_it_is_for_its_owner_only_and_any_tar_can_list_it(take: Take) -> None:
    before = os.umask(0)
    try:
        path = take()
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as tar:
        names = tar.getnames()
    assert names[0] in {"database.sqlite", "database.dump"}
    assert names[-2:] == ["manifest.json", "sha256"]
    assert [file.name for file in path.parent.iterdir()] == ["b.tar"]


def test_into_a_folder_it_is_named_by_the_time(app: APIFlask, tmp_path: Path) -> None:
    at = datetime(2026, 11, 20, 12, 30, 5, tzinfo=UTC)
    folder = current_settings().data_dir
    path, manifest = take_backup(tmp_path, data_dir=folder, storage=storage_of(app), now=at)
    assert path == tmp_path / "billtrack-20261120T123005Z.tar"
    assert (manifest.taken_at, manifest.timezone) == (at, "UTC")


def test_it_never_overwrites(take: Take) -> None:
    take()
    before = (take.folder / "b.tar").read_bytes()
    with pytest.raises(ConflictError, match="exists already"):
        take()
    assert (take.folder / "b.tar").read_bytes() == before


def test_nothing_is_left_when_the_disk_is_full(
    app: APIFlask, cast: Cast, take: Take, full_disk: Callable[[], None]
) -> None:
    create_document(app, cast, bytes(50_000))
    full_disk()
    with pytest.raises((BackupFailed, DumpFailed)):
        take()
    assert list(take.folder.iterdir()) == []


def test_a_folder_that_is_not_there_is_named(take: Take) -> None:
    with pytest.raises(BackupFailed, match="No such file or directory"):
        take("nowhere/b.tar")


def test_the_manifest_says_what_was_used(app: APIFlask, cast: Cast, take: Take) -> None:
    for _ in range(2):
        create_record(cast, quantity=10**15)
    create_record(cast, user=cast.other_customer, quantity=5)
    create_record(cast, quantity=3, event="cpu_time")
    with open_backup(take()) as backup:
        totals = backup.manifest.totals
    recorded = {event: (one.records, one.quantity) for event, one in totals.recorded.items()}
    assert recorded == {"api_calls": (3, 2 * 10**15 + 5), "cpu_time": (1, 3)}
    assert totals.rolled_up == totals.recorded
    assert totals.rows["usage_records"] == 4
    assert totals.rows["users"] == 7


def test_a_document_that_is_gone_is_named_as_missing(
    app: APIFlask, cast: Cast, take: Take, empty: APIFlask
) -> None:
    kept, gone = create_document(app, cast, b"kept"), create_document(app, cast, b"gone")
    storage_of(app).remove(gone.partition("/")[0])
    source = take()
    with open_backup(source) as backup:
        assert backup.manifest.missing_documents == [gone]
        assert [file.path for file in backup.documents()] == [f"documents/{kept}"]
    assert restore(source, empty).manifest.missing_documents == [gone]


def test_writers_go_on_and_every_backup_is_one_instant(
    app: APIFlask, cast: Cast, take: Take, empty: APIFlask
) -> None:
    taken = threading.Event()
    rules, user_id = terms(cast.provider), cast.customer.id
    recorded: list[int] = []

    def record() -> None:
        # Goes on for as long as backups are taken, and for a while at any rate.
        while not taken.is_set() or len(recorded) < ENOUGH:
            items = [UsageInput(user_id, "api_calls", 1) for _ in range(50)]
            submit(items, terms=rules)
            recorded.append(1)

    def back_up() -> None:
        try:
            for number in range(3):
                before = len(recorded)
                while len(recorded) == before:
                    taken.wait(0.001)
                take(f"{number}.tar")
        finally:
            taken.set()

    in_threads(app, [record, back_up])
    counts = []
    for number in range(3):
        with open_backup(take.folder / f"{number}.tar") as backup:
            totals = backup.manifest.totals
        assert totals.recorded == totals.rolled_up
        assert totals.rows["usage_records"] % 50 == 0
        counts.append(totals.rows["usage_records"])
    assert 0 < counts[0] < counts[1] < counts[2] <= 50 * len(recorded)
    assert restore(take.folder / "1.tar", empty).differences == []
    assert len(every_row(empty)["usage_records"]) == counts[1]


def test_what_killed_backups_left_is_removed_and_what_runs_is_not(
    app: APIFlask, take: Take
) -> None:
    left = take.folder / f"{WORKSHOP}left"
    left.mkdir()
    (left / "database.sqlite").write_bytes(b"half of it")
    take()
    assert [file.name for file in take.folder.iterdir()] == ["b.tar"]


@pytest.mark.parametrize("settings", ["postgresql"], indirect=True)
class TestPrograms:
    """pg_dump has to be there, and as new as the server."""

    def test_it_names_the_package_when_pg_dump_is_missing(
        self, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(ProgramMissing, match="apt-get install postgresql-client-"):
            take()
        assert list(take.folder.iterdir()) == []

    def test_it_says_when_pg_dump_is_older_than_the_server(
        self, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = tmp_path / "pg_dump"
        old.write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
        old.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        with pytest.raises(ProgramMissing, match="is of PostgreSQL 9, older than"):
            take()

    def test_what_pg_dump_says_is_passed_on(
        self, take: Take, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = shutil.which("pg_dump")
        broken = tmp_path / "pg_dump"
        broken.write_text(
            f'#!/bin/sh\n[ "$1" = --version ] && exec {real} --version\n'
            "echo 'could not read block 7' >&2\nexit 1\n"
        )
        broken.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        with pytest.raises(Exception, match="pg_dump ended with an error: could not read block 7"):
            take()
        assert list(take.folder.iterdir()) == []
