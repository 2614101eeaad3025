"""Storage in a folder of this machine."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import structlog

from billtrack.platform.storage.storage import DocumentGone, StorageFailed, StoredFile

log = structlog.get_logger(__name__)

UNFINISHED = ".part"


class LocalStorage:
    """Files below one folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()

    def put(self, path: str, content: bytes) -> StoredFile:
        """Store the file under its path; a reader sees nothing or all of it, also after a crash.

        Raises StorageFailed when the disk is full or may not be written to.
        """
        target = self._resolve(path)
        try:
            self._write(target, content)
        except OSError as error:
            log.warning("document_not_stored", folder=str(self._root), error=str(error))
            raise StorageFailed(
                f"The file could not be written: {error.strerror}. Make room where billtrack "
                "keeps its documents, or give it the right to write there, then try again."
            ) from error
        return StoredFile(path, len(content), hashlib.sha256(content).hexdigest())

    def open(self, path: str) -> BinaryIO:
        """Return the file to read; raises DocumentGone when it is not there."""
        try:
            return self._resolve(path).open("rb")
        except FileNotFoundError as error:
            raise DocumentGone(
                "This file is not kept any more. Generate the report again."
            ) from error

    def remove(self, folder: str) -> None:
        """Remove the folder with all that lies in it, if it is there."""
        shutil.rmtree(self._resolve(folder), ignore_errors=True)

    def list_paths(self) -> Iterator[str]:
        """Return the paths of all files; one that comes or goes meanwhile may be among them."""
        for folder, _, names in os.walk(self._root):
            for name in names:
                if not name.endswith(UNFINISHED):
                    yield str((Path(folder) / name).relative_to(self._root))

    def _write(self, target: Path, content: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        unfinished = target.parent / f".{secrets.token_hex(8)}{UNFINISHED}"
        try:
            with unfinished.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(target)
        finally:
            unfinished.unlink(missing_ok=True)
        for folder in target.parents:
            _sync_folder(folder)
            if folder == self._root:
                break

    def _resolve(self, path: str) -> Path:
        target = (self._root / path).resolve()
        if not target.is_relative_to(self._root):
            raise ValueError(f"{path} leads out of the storage")
        return target


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
