"""A folder that keeps what waits on the disk, for any number of processes.

    lock                              held for moments, while folders come and go
    refused.jsonl                     records that the server refused
    writers/<time>-<pid>-<random>/    one for each client that is alive, or has died
        lock                          held (flock) while its client is alive
        00000001.jsonl …              segments, in order

Nobody writes into another's folder. The kernel lets go of the lock of whoever dies, so what
it left is taken over by whoever looks next, and sent before anything newer of its own.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

from billtrack_client.segments import FileSegment, Segment

SEGMENTS = "*.jsonl"


class Spool:
    """The folder of one client among those of others."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._writers = folder / "writers"
        self._own: Path | None = None
        self._locks: dict[Path, int] = {}
        self._segments = 0

    @property
    def is_open(self) -> bool:
        """Tell whether there is a folder of our own."""
        return self._own is not None

    def open(self) -> list[Segment]:
        """Make a folder of our own; return what others left that are dead, the oldest first.

        Raises OSError where the disk or the rights do not allow it.
        """
        self._writers.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._alone():
            name = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}"
            own = self._writers / name
            own.mkdir(mode=0o700)
            (own / "lock").touch(mode=0o600)
            self._take(own)
            self._own = own
        return self.adopt()

    def adopt(self) -> list[Segment]:
        """Take over the folders of clients that have died; return their segments, in order."""
        found: list[Segment] = []
        with self._alone():
            for folder in sorted(self._writers.iterdir()):
                if folder not in self._locks and self._take(folder):
                    paths = sorted(folder.glob(SEGMENTS))
                    found += [FileSegment(path, is_new=False) for path in paths]
        return found

    def new_segment(self) -> FileSegment:
        """Begin the next segment; raises OSError."""
        if self._own is None:
            raise FileNotFoundError("the spool is not open")
        self._segments += 1
        return FileSegment(self._own / f"{self._segments:08d}.jsonl")

    def tidy(self) -> None:
        """Remove folders that were taken over and of which all is sent; raises OSError."""
        emptied = [
            folder
            for folder in self._locks
            if folder != self._own and not any(folder.glob(SEGMENTS))
        ]
        if emptied:
            with self._alone():
                for folder in emptied:
                    self._remove(folder)

    def close(self) -> None:
        """Let go of everything; what is not sent is left for the next; raises OSError."""
        self.tidy()
        if self._own is not None and not any(self._own.glob(SEGMENTS)):
            with self._alone():
                self._remove(self._own)
        self.forget()

    def forget(self) -> None:
        """Close what is open, as a forked child must, whose parent holds on to the locks."""
        for fd in self._locks.values():
            os.close(fd)
        self._locks, self._own, self._segments = {}, None, 0

    def _take(self, folder: Path) -> bool:
        """Hold the lock of the folder, if nobody alive does."""
        try:
            fd = os.open(folder / "lock", os.O_RDWR)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return False
        self._locks[folder] = fd
        return True

    def _remove(self, folder: Path) -> None:
        (folder / "lock").unlink(missing_ok=True)
        folder.rmdir()
        os.close(self._locks.pop(folder))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other processes from making, taking or removing folders meanwhile."""
        with (self.folder / "lock").open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
