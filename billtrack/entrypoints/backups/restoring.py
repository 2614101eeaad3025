"""Restore a backup into an empty installation: all of it, and proven, or nothing."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

from flask_migrate import upgrade
from pydantic import SecretStr

from billtrack.core.errors import BilltrackError, ConflictError
from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.backups import embedded, postgresql
from billtrack.entrypoints.backups.archive import Backup, open_backup
from billtrack.entrypoints.backups.manifest import (
    DATABASES,
    DOCUMENTS,
    SECRETS,
    BackupRefused,
    Manifest,
)
from billtrack.entrypoints.backups.running import require_stopped
from billtrack.entrypoints.backups.totals import take_totals
from billtrack.entrypoints.setup.initialise import alone
from billtrack.platform.config import Settings
from billtrack.platform.extensions import current_calendar, db
from billtrack.platform.installation.parts import knows_migration
from billtrack.platform.storage.storage import DocumentGone, Storage, StorageFailed
from billtrack.usage.records.verification import Finding, verify


class RestoreDiffers(BilltrackError):
    """What came out of the backup is not what went in."""

    code = "restore_differs"


class RestoreFailed(BilltrackError):
    """The files could not be written."""

    code = "restore_failed"


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored: how many rollups were compared with records, and those that differ."""

    manifest: Manifest
    documents: int
    users: int
    rollups: int
    differences: Sequence[Finding]


def restore_backup(source: Path, *, settings: Settings, storage: Storage) -> Restored:
    """Restore into the empty installation of these settings; needs its app context.

    A failure, even kill -9, before the database is in place leaves an installation into which
    the backup can be restored again. Rollups that differ from their records did so in the
    backup: they are restored as they were, and named. Raises BackupRefused, ConflictError,
    RestoreDiffers, RestoreFailed and DatabaseDamaged, and has changed nothing then.
    """
    with open_backup(source) as backup, alone(settings):
        _require_fitting(backup.manifest, settings)
        require_stopped(settings.data_dir)
        _require_free()
        try:
            with ExitStack() as undo:
                documents = _put_documents(backup, storage, undo)
                _put_secrets(backup, settings.data_dir, undo)
                checked = _put_database(backup, settings)
                undo.pop_all()
        except (OSError, StorageFailed) as error:
            raise RestoreFailed(f"Nothing was restored: {error}") from error
        users, rollups, differences = checked
        return Restored(backup.manifest, documents, users, rollups, differences)


def _require_fitting(manifest: Manifest, settings: Settings) -> None:
    kind = db.engine.dialect.name
    if manifest.database != kind:
        raise BackupRefused(
            f"This is a backup of {manifest.database}, but the settings name {kind}. Restore it "
            "where DATABASE_URL fits; billtrack db copy then moves SQLite to PostgreSQL."
        )
    if not knows_migration(manifest.revision):
        raise BackupRefused(
            f"This backup was made by billtrack {manifest.version} with the schema "
            f"{manifest.revision}, which is newer than this program knows. Restore it with "
            "that version."
        )
    if manifest.timezone != settings.timezone:
        raise BackupRefused(
            f"This backup bills in {manifest.timezone}, but BILLTRACK_TIMEZONE says "
            f"{settings.timezone}. Set BILLTRACK_TIMEZONE={manifest.timezone}."
        )


def _require_free() -> None:
    if path := _database_file():
        embedded.require_free(path)
        return
    with db.engine.connect() as connection:
        postgresql.require_free(connection)


def _database_file() -> Path | None:
    is_file = db.engine.dialect.name == "sqlite"
    return Path(str(db.engine.url.database)) if is_file else None


def _put_documents(backup: Backup, storage: Storage, undo: ExitStack) -> int:
    """Store the documents; those that an object store has kept are left where they are."""
    kept = set(storage.list_paths())
    folders = {path.partition("/")[0] for path in kept}
    count = 0
    for file in backup.documents():
        path = file.path.removeprefix(DOCUMENTS)
        if path in kept:
            _require_same(storage, path, file.sha256)
            continue
        folder = path.partition("/")[0]
        if folder not in folders:
            folders.add(folder)
            undo.callback(storage.remove, folder)
        with backup.open(file.path) as content:
            storage.put(path, content.read())
        count += 1
    return count


def _require_same(storage: Storage, path: str, sha256: str) -> None:
    try:
        with storage.open(path) as content:
            is_same = hashlib.sha256(content.read()).hexdigest() == sha256
    except DocumentGone:
        is_same = False
    if not is_same:
        raise ConflictError(
            f"The document storage holds another {path} than the backup. Move its documents "
            "away, or set BILLTRACK_STORAGE_URL to another place."
        )


def _put_secrets(backup: Backup, data_dir: Path, undo: ExitStack) -> None:
    for name, file in SECRETS.items():
        if not backup.holds(name):
            continue
        target = data_dir / file
        before = target.read_bytes() if target.exists() else None
        with backup.open(name) as content:
            _write_whole(target, content)
        undo.callback(partial(_put_back, target, before))


def _put_back(target: Path, before: bytes | None) -> None:
    if before is None:
        target.unlink()
    else:
        target.write_bytes(before)  # keeps the mode


def _write_whole(target: Path, content: IO[bytes]) -> None:
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    try:
        _write_durably(unfinished, content)
        unfinished.rename(target)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_durably(path: Path, content: IO[bytes]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())


Proof = tuple[int, int, Sequence[Finding]]


def _put_database(backup: Backup, settings: Settings) -> Proof:
    name = DATABASES[backup.manifest.database]
    with backup.open(name) as content:
        if path := _database_file():
            return _put_file(content, path, backup.manifest, settings)
        postgresql.load(content)
    try:
        return _prove(backup.manifest)
    except BaseException:
        db.session.remove()
        postgresql.empty()
        raise


def _put_file(content: IO[bytes], path: Path, manifest: Manifest, settings: Settings) -> Proof:
    """Prove the database under another name; under its own it appears complete."""
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        _write_durably(unfinished, content)
        with _app_on(unfinished, settings):
            proof = _prove(manifest)
        with closing(sqlite3.connect(unfinished)) as database:
            embedded.make_one_file(database)
        unfinished.rename(path)
    finally:
        for left in path.parent.glob(f"{unfinished.name}*"):
            left.unlink()
    return proof


@contextmanager
def _app_on(path: Path, settings: Settings) -> Iterator[None]:
    url = SecretStr(f"sqlite:///{path}")
    with create_app(settings.model_copy(update={"database_url": url})).app_context():
        try:
            yield
        finally:
            db.session.remove()
            db.engine.dispose()


def _prove(manifest: Manifest) -> Proof:
    """Compare with the manifest, bring the schema up to date, compare rollups with records."""
    with db.engine.connect() as connection:
        found = take_totals(connection)
    if differences := manifest.totals.differences(found):
        raise RestoreDiffers(
            "What came out of the backup is not what its manifest says, so nothing was restored. "
            f"{'; '.join(differences)}"
        )
    upgrade()
    checked = list(verify(calendar=current_calendar()))
    wrong = [difference for user in checked for difference in user.differences]
    return len(checked), sum(user.rollups for user in checked), wrong
