"""What waits to be sent: a segment that still grows, and those that are closed, in order."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence

from billtrack_client.limits import Limits
from billtrack_client.segments import MemorySegment, Segment
from billtrack_client.spool import Spool

log = logging.getLogger("billtrack_client")

LARGEST_BATCH = 4 * 1024 * 1024
"""Bytes of a segment at most: the server takes 16 MiB."""


class Waiting:
    """A queue between the threads that record and the one that sends.

    A segment lies in the spool; in memory without one, or while the disk fails.
    """

    def __init__(self, spool: Spool | None, limits: Limits) -> None:
        self._spool = spool
        self._limits = limits
        self._is_ended = self._is_stopped = False
        self._changed = threading.Condition()
        self._current: Segment | None = None
        self._closed: deque[Segment] = deque()
        self._bytes = self._added = self._done = 0

    def add(self, segments: Sequence[Segment]) -> None:
        """Put segments that are found in the spool behind those that wait."""
        with self._changed:
            self._add(segments)

    def keep(self, line: bytes) -> bool:
        """Add the line; False where there is no room for it. Raises RuntimeError after `end`."""
        with self._changed:
            if self._is_ended:
                raise RuntimeError("the client is closed")
            if self._bytes + len(line) > self._limits.max_bytes:
                return False
            if self._current is not None and self._current.size + len(line) > LARGEST_BATCH:
                self._close_current()
            self._append(line)
            self._bytes += len(line)
            if self._current is not None and self._current.count >= self._limits.batch_records:
                self._close_current()
            return True

    def close_current(self) -> int:
        """Close what grows; return the number to give to `wait_until_done`."""
        with self._changed:
            self._close_current()
            return self._added

    def wait_until_done(self, number: int, timeout: float | None) -> bool:
        """Wait until so many segments are done since the start; False if not in time."""
        with self._changed:
            return self._changed.wait_for(lambda: self._done >= number, timeout)

    def next(self, seconds: float) -> Segment | None:
        """Return the first segment, which stays there, waiting for one at most so long."""
        until = time.monotonic() + seconds
        with self._changed:
            while not self._closed and not self._is_stopped:
                left = until - time.monotonic()
                if left <= 0:
                    return None
                age_left = self._close_if_old()
                if not self._closed:
                    self._changed.wait(min(left, age_left))
            return None if self._is_stopped else self._closed[0]

    def done(self) -> None:
        """Forget the first segment, which is answered for."""
        with self._changed:
            segment = self._closed.popleft()
            self._bytes -= segment.size
            self._done += 1
            self._changed.notify_all()

    def secure(self) -> None:
        """Close what is old enough, and wait until the disk has all that is closed."""
        with self._changed:
            self._close_if_old()
            segments = list(self._closed)
        for segment in segments:
            seal(segment)

    def stop(self) -> None:
        """Let `next` return None from now on."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def end(self) -> None:
        """Take no more."""
        with self._changed:
            self._is_ended = True

    def leave(self) -> list[bytes]:
        """Give up what is not done; return the lines that are in no file."""
        self.secure()
        with self._changed:
            left = [segment for segment in self._closed if isinstance(segment, MemorySegment)]
            self._closed.clear()
        return [line for segment in left for line in segment.lines()]

    def release(self) -> None:
        """Close the files, as a forked child must. Takes no lock: its holder was left behind."""
        for segment in [*self._closed, *([self._current] if self._current else [])]:
            segment.release()

    def _add(self, segments: Sequence[Segment]) -> None:
        self._closed.extend(segments)
        self._added += len(segments)
        self._bytes += sum(segment.size for segment in segments)
        self._changed.notify_all()

    def _append(self, line: bytes) -> None:
        try:
            if self._current is None:
                self._begin(self._in_spool())
            if self._current is not None:
                self._current.append(line)
        except OSError as error:
            log.warning("usage is kept in memory only, as the spool fails: %s", error)
            self._close_current()
            segment = MemorySegment()
            segment.append(line)
            self._begin(segment)

    def _in_spool(self) -> Segment:
        if self._spool is None:
            return MemorySegment()
        if not self._spool.is_open:  # in a forked child
            self._add(self._spool.open())
        return self._spool.new_segment()

    def _begin(self, segment: Segment) -> None:
        self._current = segment
        self._changed.notify_all()  # its age counts from now

    def _close_current(self) -> None:
        if self._current is not None:
            self._closed.append(self._current)
            self._added += 1
            self._current = None
            self._changed.notify_all()

    def _close_if_old(self) -> float:
        """Close what is old enough; return for how long nothing will be."""
        if self._current is None:
            return self._limits.batch_seconds
        left = self._current.began + self._limits.batch_seconds - time.monotonic()
        if left <= 0:
            self._close_current()
        return max(left, 0.0)


def seal(segment: Segment) -> None:
    """Wait until the disk has the segment. Where it has not, the kernel still may."""
    try:
        segment.seal()
    except OSError as error:
        log.warning("a power cut now could lose usage that waits: %s", error)
