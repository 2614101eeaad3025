"""Finished files: whole or not at all, and only below their folder."""

from __future__ import annotations

import hashlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from billtrack.platform.storage.local import LocalStorage
from billtrack.platform.storage.storage import DocumentGone, Storage, StorageFailed


def read(storage: Storage, path: str) -> bytes:
    with storage.open(path) as file:
        return file.read()


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "reports")


@pytest.fixture
def full_disk() -> Iterator[None]:
    """Let every file of this process end at 1,000 bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


def files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_it_keeps_a_file_with_its_size_and_digest(storage: LocalStorage, tmp_path: Path) -> None:
    stored = storage.put("23/1/user-1.pdf", b"content")
    assert (stored.path, stored.size) == ("23/1/user-1.pdf", 7)
    assert stored.sha256 == hashlib.sha256(b"content").hexdigest()
    assert read(storage, "23/1/user-1.pdf") == b"content"
    assert files(tmp_path) == ["reports/23/1/user-1.pdf"]


def test_it_leaves_nothing_of_a_file_that_could_not_be_written(
    storage: LocalStorage, tmp_path: Path, full_disk: None
) -> None:
    with pytest.raises(StorageFailed, match="File too large"):
        storage.put("23/1/user-1.pdf", b"x" * 5000)
    assert files(tmp_path) == []


def test_it_keeps_the_file_before_when_another_cannot_replace_it(
    storage: LocalStorage, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    storage.put("23/1/user-1.pdf", b"whole")
    request.getfixturevalue("full_disk")
    with pytest.raises(StorageFailed, match="File too large"):
        storage.put("23/1/user-1.pdf", b"x" * 5000)
    assert read(storage, "23/1/user-1.pdf") == b"whole"
    assert files(tmp_path) == ["reports/23/1/user-1.pdf"]


@pytest.mark.parametrize("path", ["../secret_key", "/etc/passwd", "23/../../secret_key"])
def test_no_path_leads_out(storage: LocalStorage, tmp_path: Path, path: str) -> None:
    (tmp_path / "secret_key").write_text("secret")
    for act in (storage.open, storage.remove, lambda path: storage.put(path, b"x")):
        with pytest.raises(ValueError, match="leads out"):
            act(path)
    assert (tmp_path / "secret_key").read_text() == "secret"


def test_no_link_leads_out(storage: LocalStorage, tmp_path: Path) -> None:
    storage.put("1/1/a.pdf", b"x")
    (tmp_path / "reports" / "1" / "link").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leads out"):
        storage.open("1/link/secret_key")


def test_it_says_when_a_file_is_gone(storage: LocalStorage) -> None:
    with pytest.raises(DocumentGone, match="Generate the report again"):
        storage.open("23/1/user-1.pdf")


def test_it_removes_a_folder_with_all_in_it_or_nothing(
    storage: LocalStorage, tmp_path: Path
) -> None:
    storage.put("23/1/user-1.pdf", b"x")
    storage.put("23/2/user-1.pdf", b"y")
    storage.remove("23/1")
    storage.remove("99/1")
    assert files(tmp_path) == ["reports/23/2/user-1.pdf"]


def test_it_lists_what_is_finished(storage: LocalStorage, tmp_path: Path) -> None:
    assert list(storage.list_paths()) == []
    for path in ("23/1/a.pdf", "23/2/b.pdf", "7/1/c.pdf"):
        storage.put(path, b"x")
    (tmp_path / "reports" / "7" / "1" / ".0123.part").write_bytes(b"half")
    assert sorted(storage.list_paths()) == ["23/1/a.pdf", "23/2/b.pdf", "7/1/c.pdf"]
