"""Tell whether billtrack is at work in a data folder, as far as this machine can."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from billtrack.core.errors import ConflictError


class IsRunning(ConflictError):
    """Other processes work with this installation."""

    code = "is_running"


def require_stopped(folder: Path) -> None:
    """Raise IsRunning when another process has a database of this data folder open.

    Sees the processes of this machine that the account may look at; in another container none.
    """
    for pid in _processes_with_databases(folder.resolve()):
        if pid != os.getpid():
            raise IsRunning(f"Process {pid} works with {folder}. Stop billtrack first.")


def _processes_with_databases(folder: Path) -> Iterator[int]:
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):  # it has ended, or is not ours to look at
            opened = link.readlink()
            if opened.is_relative_to(folder) and ".db" in opened.name:
                yield int(link.parts[2])
