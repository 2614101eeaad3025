"""Keep finished files in an object store, for installations on several machines."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import BinaryIO

from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url

from billtrack.core.errors import UnavailableError
from billtrack.platform.storage.storage import DocumentGone, StoredFile

MAX_SECONDS = "30s"


class StorageUnavailable(UnavailableError):
    """The object store does not answer, or refuses."""

    code = "storage_unavailable"


class ObjectStorage:
    """Files below an `s3://bucket/prefix`; credentials come from the usual AWS_… variables.

    The store itself shows an object whole or not at all.
    """

    def __init__(self, url: str) -> None:
        self._store: ObjectStore = from_url(
            url, client_options={"timeout": MAX_SECONDS, "allow_http": True}
        )

    def put(self, path: str, content: bytes) -> StoredFile:
        """Store the file under its path; raises StorageUnavailable."""
        try:
            self._store.put(path, content)
        except (BaseError, FileNotFoundError) as error:
            raise StorageUnavailable(f"The document storage refused: {error}") from error
        return StoredFile(path, len(content), hashlib.sha256(content).hexdigest())

    def open(self, path: str) -> BinaryIO:
        """Return the file to read; raises DocumentGone and StorageUnavailable."""
        try:
            return io.BytesIO(bytes(self._store.get(path).bytes()))
        except FileNotFoundError as error:
            raise DocumentGone(
                "This file is not kept any more. Generate the report again."
            ) from error
        except BaseError as error:
            raise StorageUnavailable(f"The document storage refused: {error}") from error

    def remove(self, folder: str) -> None:
        """Remove every file below the folder; raises StorageUnavailable."""
        try:
            for objects in self._store.list(f"{folder.rstrip('/')}/"):
                self._store.delete([entry["path"] for entry in objects])
        except BaseError as error:
            raise StorageUnavailable(f"The document storage refused: {error}") from error

    def list_paths(self) -> Iterator[str]:
        """Return the paths of all files; raises StorageUnavailable."""
        try:
            for objects in self._store.list():
                yield from (entry["path"] for entry in objects)
        except BaseError as error:
            raise StorageUnavailable(f"The document storage refused: {error}") from error
