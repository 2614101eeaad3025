"""Where the processes of one command count: files in a folder that they share.

`billtrack up` and `billtrack serve` each make a folder before they start others, which find
it in their environment; it is removed when the command ends. One that was killed leaves its
folder to the next that starts. Must not import prometheus_client, which looks into the
environment once, when it is imported.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The name is prometheus_client's."""

TOKEN_SETTINGS = ("BILLTRACK_METRICS_TOKEN", "BILLTRACK_METRICS_TOKEN_FILE")
PREFIX = "billtrack-metrics-"
LOCK = "in-use"


@contextmanager
def shared_counts() -> Iterator[None]:
    """Let this process and those it starts count together while the block runs.

    Does nothing where no metrics are asked for, or where the process that started this one
    has made the folder.
    """
    if VARIABLE in os.environ or not any(os.environ.get(name) for name in TOKEN_SETTINGS):
        yield
        return
    _remove_left_folders()
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder:
        os.environ[VARIABLE] = folder
        lock = _mark_in_use(Path(folder))
        try:
            yield
        finally:
            lock.close()
            del os.environ[VARIABLE]


def _mark_in_use(folder: Path) -> IO[str]:
    """Hold a lock that ends with this process, even by kill -9."""
    unfinished = folder / f"{LOCK}.new"
    lock = unfinished.open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    unfinished.rename(folder / LOCK)  # never seen without being locked
    return lock


def _remove_left_folders() -> None:
    for lock in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{LOCK}"):
        if _is_left(lock):
            shutil.rmtree(lock.parent, ignore_errors=True)


def _is_left(lock: Path) -> bool:
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock.parent.stat().st_uid == os.geteuid()
    except OSError:  # somebody holds it, or the folder is another account's
        return False
