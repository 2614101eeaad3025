"""Nothing of a damaged or forged archive is believed."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from billtrack.entrypoints.backups.archive import ArchiveWriter, open_backup
from billtrack.entrypoints.backups.manifest import BackedUpFile, BackupRefused, Manifest, Totals

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
Forge = Callable[[ArchiveWriter], None]


def write(path: Path, forge: Forge = lambda _: None, *, extra: list[str] | None = None) -> Path:
    """Write a small archive, well sealed; `forge` adds to it, `extra` is said to be in it."""
    with path.open("w+b") as file:
        archive = ArchiveWriter(file, taken_at=NOW)
        archive.add("database.sqlite", io.BytesIO(b"the database"))
        archive.add("documents/1/1/user-1.pdf", io.BytesIO(b"a document"))
        forge(archive)
        said = [BackedUpFile(path=name, size=0, sha256="") for name in extra or []]
        archive.seal(
            Manifest(
                format=1,
                version="1",
                revision="0001",
                database="sqlite",
                timezone="UTC",
                taken_at=NOW,
                files=[*archive.files, *said],
                missing_documents=[],
                totals=Totals(rows={}, recorded={}, rolled_up={}),
            )
        )
    return path


def opens(path: Path) -> bool:
    try:
        with open_backup(path):
            return True
    except BackupRefused:
        return False


def test_a_whole_archive_opens(tmp_path: Path) -> None:
    with open_backup(write(tmp_path / "b.tar")) as backup:
        assert backup.open("database.sqlite").read() == b"the database"
        assert [file.path for file in backup.documents()] == ["documents/1/1/user-1.pdf"]


def test_a_change_of_any_byte_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "b.tar")
    whole = path.read_bytes()
    unseen = []
    for at in range(0, len(whole), 13):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        if opens(path):
            unseen.append(at)
    assert unseen == []


def test_an_archive_that_was_cut_off_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "b.tar")
    whole = path.read_bytes()
    for length in [*range(0, len(whole), 256), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert not opens(path), length
    path.write_bytes(whole + b"\0")
    assert not opens(path)


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


@pytest.mark.parametrize(
    "forged",
    [
        member("documents/../../secret_key"),
        member("/etc/cron.d/x"),
        member("documents//etc/passwd"),
        member("documents/./x"),
        member("documents/"),
        member("documents/a\\b"),
        member("../x"),
        member("documents/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("documents/link", tarfile.LNKTYPE, "database.sqlite"),
        member("documents/folder", tarfile.DIRTYPE),
        member("documents/pipe", tarfile.FIFOTYPE),
        member("documents/device", tarfile.CHRTYPE),
        member("database.sqlite"),
        member("billtrack.db"),
        member("secrets/authorized_keys"),
    ],
    ids=lambda forged: f"{forged.name} {forged.type.decode()}",
)
def test_names_and_kinds_that_no_backup_has_are_refused(
    tmp_path: Path, forged: tarfile.TarInfo
) -> None:
    path = write(
        tmp_path / "b.tar",
        lambda archive: archive._tar.addfile(forged),
        extra=[forged.name],
    )
    with pytest.raises(BackupRefused, match="no backup of billtrack"), open_backup(path):
        pass


def test_files_beside_the_manifest_are_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path / "b.tar", lambda archive: archive._tar.addfile(member("documents/2/1/x.pdf"))
    )
    with pytest.raises(BackupRefused, match="do not name the same"), open_backup(path):
        pass


def test_a_missing_file_is_found(tmp_path: Path) -> None:
    path = write(tmp_path / "b.tar", extra=["documents/2/1/x.pdf"])
    with pytest.raises(BackupRefused, match="do not name the same"), open_backup(path):
        pass


def test_a_file_that_is_not_what_the_manifest_says_is_found(tmp_path: Path) -> None:
    def forge(archive: ArchiveWriter) -> None:
        entry = archive.files[0]
        archive.files[0] = BackedUpFile(path=entry.path, size=entry.size, sha256="0" * 64)

    path = write(tmp_path / "b.tar", forge)
    with pytest.raises(BackupRefused, match=r"database\.sqlite is not what"), open_backup(path):
        pass


@pytest.mark.parametrize("content", [b"", b"no tar", bytes(20_000)])
def test_something_else_is_no_backup(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b.tar"
    path.write_bytes(content)
    assert not opens(path)
