"""The file that a backup is: a tar that any tar can list, sealed by its own SHA-256.

The last member holds the digest of every byte before it. What was cut off, changed by one bit
or appended to is found before anything in it is believed.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO

from pydantic import ValidationError

from billtrack.entrypoints.backups.manifest import (
    DATABASES,
    DOCUMENTS,
    MANIFEST,
    SECRETS,
    BackedUpFile,
    BackupRefused,
    Manifest,
)

SEAL = "sha256"
BLOCK = 512
CHUNK = 1 << 20
SEAL_SIZE = 3 * BLOCK
"""Bytes after the last header: the digest in a block of its own, then the end of a tar."""


class ArchiveWriter:
    """Writes members one after the other into a file that was opened to be read as well."""

    def __init__(self, file: BinaryIO, *, taken_at: datetime) -> None:
        self._file = file
        self._tar = tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        self._taken_at = int(taken_at.timestamp())
        self.files: list[BackedUpFile] = []

    def add(self, name: str, content: BinaryIO) -> None:
        """Add a file as it is now, without holding all of it in memory."""
        size = content.seek(0, os.SEEK_END)
        content.seek(0)
        reader = _Digesting(content)
        self._tar.addfile(self._member(name, size), reader)
        self.files.append(BackedUpFile(path=name, size=size, sha256=reader.digest.hexdigest()))

    def seal(self, manifest: Manifest) -> None:
        """Add the manifest, then the digest over everything."""
        text = manifest.model_dump_json(indent=1).encode()
        self._tar.addfile(self._member(MANIFEST, len(text)), io.BytesIO(text))
        member = self._member(SEAL, len(_seal_text("")) + 64)
        self._file.write(member.tobuf(tarfile.USTAR_FORMAT))
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(0)
        self._file.write(_seal_text(_digest(self._file, size)).ljust(SEAL_SIZE, b"\0"))

    def _member(self, name: str, size: int) -> tarfile.TarInfo:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = size, 0o600, self._taken_at
        return member


class Backup:
    """A sealed archive, every file of which is what the manifest says."""

    def __init__(
        self, tar: tarfile.TarFile, members: Mapping[str, tarfile.TarInfo], manifest: Manifest
    ) -> None:
        self._tar = tar
        self._members = members
        self.manifest = manifest

    def documents(self) -> Iterator[BackedUpFile]:
        """Return the documents; below DOCUMENTS their names are those of the storage."""
        return (file for file in self.manifest.files if file.path.startswith(DOCUMENTS))

    def holds(self, name: str) -> bool:
        """Tell whether a file is in the backup."""
        return name in self._members

    def open(self, name: str) -> IO[bytes]:
        """Return a file to read."""
        found = self._tar.extractfile(self._members[name])
        if found is None:
            raise KeyError(name)
        return found


@contextmanager
def open_backup(path: Path) -> Iterator[Backup]:
    """Open a backup to restore from it; raises BackupRefused unless every byte is right."""
    with ExitStack() as opened:
        try:
            file = opened.enter_context(path.open("rb"))
            _require_seal(file, path)
            tar = opened.enter_context(tarfile.open(fileobj=file, mode="r:"))
            backup = _read(tar, path)
            _require_hashes(backup, path)
        except OSError as error:
            raise BackupRefused(f"{path} cannot be read: {error.strerror}") from error
        except tarfile.TarError as error:
            raise BackupRefused(f"{path} is not a backup of billtrack: {error}") from error
        yield backup


def _read(tar: tarfile.TarFile, path: Path) -> Backup:
    members: dict[str, tarfile.TarInfo] = {}
    for member in tar:
        is_plain = member.type == tarfile.REGTYPE and not member.issparse()
        if not is_plain or member.name in members or not _is_expected(member.name):
            raise BackupRefused(
                f"{path} holds what no backup of billtrack does: {member.name!r}. "
                "Nothing was restored."
            )
        members[member.name] = member
    try:
        # extractfile() of a plain file always answers.
        text = tar.extractfile(members[MANIFEST]).read()  # type: ignore[union-attr]
        manifest = Manifest.model_validate_json(text)
    except (KeyError, ValidationError) as error:
        raise BackupRefused(
            f"The manifest of {path} cannot be read: it is missing, or of another version "
            "of billtrack."
        ) from error
    return Backup(tar, members, manifest)


def _is_expected(name: str) -> bool:
    if name in {MANIFEST, SEAL, *DATABASES.values(), *SECRETS}:
        return True
    inside = name.removeprefix(DOCUMENTS)
    parts = PurePosixPath(inside).parts
    is_plain = inside == "/".join(parts) and "\0" not in inside and "\\" not in inside
    return name.startswith(DOCUMENTS) and is_plain and not {"..", "/"} & {*parts} and bool(parts)


def _require_hashes(backup: Backup, path: Path) -> None:
    names = [file.path for file in backup.manifest.files]
    held = backup._members.keys() - {MANIFEST, SEAL}  # noqa: SLF001 (the same module)
    if set(names) != held or len(names) != len(held):
        raise BackupRefused(f"{path} and its manifest do not name the same files.")
    for file in backup.manifest.files:
        with backup.open(file.path) as content:
            digest = _digest(content, file.size + 1)
        if digest != file.sha256:
            raise BackupRefused(f"{path} is damaged: {file.path} is not what the manifest says.")


def _require_seal(file: BinaryIO, path: Path) -> None:
    size = file.seek(0, os.SEEK_END) - SEAL_SIZE
    file.seek(0)
    seal = _seal_text(_digest(file, size)).ljust(SEAL_SIZE, b"\0")
    if file.read() != seal:
        raise BackupRefused(
            f"{path} is damaged, cut off, or not a backup of billtrack. Nothing was restored; "
            "take another copy of it, or another backup."
        )
    file.seek(0)


def _digest(file: IO[bytes], size: int) -> str:
    """Return the SHA-256 of at most the next `size` bytes."""
    digest = hashlib.sha256()
    while size > 0 and (chunk := file.read(min(size, CHUNK))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.hexdigest()


def _seal_text(digest: str) -> bytes:
    return f"{digest}\n".encode("ascii")


class _Digesting:
    """Reads on, and computes the digest of what was read."""

    def __init__(self, content: BinaryIO) -> None:
        self._content = content
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._content.read(size)
        self.digest.update(chunk)
        return chunk
