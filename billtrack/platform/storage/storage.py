"""Interface and errors of the storage of finished files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Protocol

from billtrack.core.errors import BilltrackError, NotFoundError


class DocumentGone(NotFoundError):
    """The file is not kept any more."""

    code = "document_gone"


class StorageFailed(BilltrackError):
    """The file could not be written, for want of room or permission."""

    code = "storage_failed"


class StorageMissing(BilltrackError):
    """The setting asks for a storage that cannot be reached with what is installed."""

    code = "storage_missing"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """Path of a file below the root, its size in bytes and its SHA-256."""

    path: str
    size: int
    sha256: str


class Storage(Protocol):
    """Storage of finished files. Paths are relative and never come from a request."""

    def put(self, path: str, content: bytes) -> StoredFile:
        """Store the file; a reader sees nothing or all of it."""

    def open(self, path: str) -> BinaryIO:
        """Return the file to read; raises DocumentGone when it is not there."""

    def remove(self, folder: str) -> None:
        """Remove the folder with all that lies in it, if it is there."""

    def list_paths(self) -> Iterator[str]:
        """Return the paths of all files; one that comes or goes meanwhile may be among them."""
