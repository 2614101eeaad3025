"""Records that wait together: a segment grows by lines and is later sent as one batch."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Protocol


class Segment(Protocol):
    """Lines that are sent together and forgotten together."""

    size: int
    count: int
    began: float

    def append(self, line: bytes) -> None:
        """Keep the line; raises OSError, after which no other line may follow."""

    def seal(self) -> None:
        """Take no more lines; they are then as safe as they will be."""

    def lines(self) -> list[bytes]:
        """Return the lines, without their ends."""

    def discard(self) -> None:
        """Forget all of it."""

    def release(self) -> None:
        """Close what is open, leaving the lines where they are."""


class MemorySegment:
    """Lines in memory: lost with the process."""

    def __init__(self) -> None:
        self.size, self.count, self.began = 0, 0, time.monotonic()
        self._lines: list[bytes] = []

    def append(self, line: bytes) -> None:
        """Keep the line."""
        self._lines.append(line.rstrip(b"\n"))
        self.size += len(line)
        self.count += 1

    def seal(self) -> None:
        """Do nothing: memory is as safe as it is."""

    def lines(self) -> list[bytes]:
        """Return the lines."""
        return self._lines

    def discard(self) -> None:
        """Forget them."""
        self._lines = []

    def release(self) -> None:
        """Do nothing: nothing is open."""


class FileSegment:
    """Lines in a file, which is only ever added to.

    A line that was kept outlives the process at once, kill -9 included: the kernel has it.
    A power cut it outlives from the moment of `seal`, which waits for the disk.
    """

    def __init__(self, path: Path, *, is_new: bool = True) -> None:
        self._path = path
        self._fd: int | None = None
        self.size, self.count, self.began = 0, 0, time.monotonic()
        if is_new:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            self._fd = os.open(path, flags, 0o600)
        else:
            self.size = path.stat().st_size

    def append(self, line: bytes) -> None:
        """Hand the line to the kernel; raises OSError, after which no other line may follow."""
        if self._fd is None:
            raise OSError(errno.EBADF, "the segment is sealed")
        written = os.write(self._fd, line)
        if written < len(line):
            # Half a line on a full disk: it is left out when the file is read, if it is the last.
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.size += written
        self.count += 1

    def seal(self) -> None:
        """Wait until the disk has the lines, and close the file; raises OSError."""
        if self._fd is not None:
            try:
                os.fsync(self._fd)
            finally:
                self.release()

    def lines(self) -> list[bytes]:
        """Return the whole lines; raises OSError.

        What stands after the last end of line is left out: whoever recorded it died before
        `record` had returned, or kept it elsewhere.
        """
        return [line for line in self._path.read_bytes().split(b"\n")[:-1] if line]

    def discard(self) -> None:
        """Remove the file; raises OSError."""
        self.release()
        self._path.unlink(missing_ok=True)

    def release(self) -> None:
        """Close the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
