"""Take a backup while everything goes on; the file appears whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from billtrack import __version__
from billtrack.core.errors import BilltrackError, ConflictError
from billtrack.entrypoints.backups import embedded, postgresql
from billtrack.entrypoints.backups.archive import ArchiveWriter
from billtrack.entrypoints.backups.manifest import DATABASES, DOCUMENTS, SECRETS, Manifest
from billtrack.platform.extensions import db
from billtrack.platform.storage.storage import DocumentGone, Storage

WORKSHOP = ".billtrack-backup-"
"""How folders begin that backups are made in, beside where they will lie."""


class BackupFailed(BilltrackError):
    """The backup could not be written."""

    code = "backup_failed"


def take_backup(
    target: Path, *, data_dir: Path, storage: Storage, now: datetime
) -> tuple[Path, Manifest]:
    """Write a backup to this path, or under a name made of `now` into this folder.

    Needs an app context; holds no lock that anybody waits for. Refuses to overwrite. Raises
    ConflictError, BackupFailed and what the database and the storage raise.
    """
    if target.is_dir():
        target = target / f"billtrack-{now:%Y%m%dT%H%M%SZ}.tar"
    if target.exists():
        raise ConflictError(f"{target} exists already. Choose another name.")
    try:
        _remove_left_workshops(target.parent)
        with _workshop(target.parent) as workshop:
            unfinished = workshop / "backup.tar"
            manifest = _write(unfinished, data_dir=data_dir, storage=storage, now=now)
            unfinished.rename(target)
            _sync(target.parent)
    except (OSError, sqlite3.OperationalError) as error:
        raise BackupFailed(f"{target} could not be written: {error}") from error
    return target, manifest


def _write(path: Path, *, data_dir: Path, storage: Storage, now: datetime) -> Manifest:
    kind = "sqlite" if db.engine.dialect.name == "sqlite" else "postgresql"
    database = path.with_name(DATABASES[kind])
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w+b") as file:
        archive = ArchiveWriter(file, taken_at=now)
        # First the database: what it calls finished had its file before, and files only go.
        facts = embedded.snapshot(database) if kind == "sqlite" else postgresql.dump(database)
        with database.open("rb") as content:
            archive.add(database.name, content)
        database.unlink()
        stored = _add_documents(archive, storage)
        _add_secrets(archive, data_dir)
        manifest = Manifest(
            format=1,
            version=__version__,
            revision=facts.revision,
            database=kind,
            timezone=facts.timezone,
            taken_at=now,
            files=archive.files,
            missing_documents=sorted(facts.documents - stored),
            totals=facts.totals,
        )
        archive.seal(manifest)
        file.flush()
        os.fsync(file.fileno())
    return manifest


def _add_documents(archive: ArchiveWriter, storage: Storage) -> set[str]:
    """Add all documents, and return the paths of those that were still there."""
    stored = set()
    for path in storage.list_paths():
        # Retention may remove it meanwhile.
        with contextlib.suppress(DocumentGone), storage.open(path) as content:
            archive.add(DOCUMENTS + path, content)
            stored.add(path)
    return stored


def _add_secrets(archive: ArchiveWriter, data_dir: Path) -> None:
    for name, file in SECRETS.items():
        with contextlib.suppress(FileNotFoundError), (data_dir / file).open("rb") as content:
            archive.add(name, content)


@contextmanager
def _workshop(folder: Path) -> Iterator[Path]:
    """Make a folder for this process alone (0700), and remove it in the end."""
    made = Path(tempfile.mkdtemp(prefix=WORKSHOP, dir=folder))
    descriptor = os.open(made, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield made
    finally:
        os.close(descriptor)
        shutil.rmtree(made)


def _remove_left_workshops(folder: Path) -> None:
    """Remove what backups left that were killed: nobody holds the lock of such a folder."""
    for left in folder.glob(f"{WORKSHOP}*"):
        descriptor = os.open(left, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(left)
        except BlockingIOError:
            continue  # a backup at work
        finally:
            os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
