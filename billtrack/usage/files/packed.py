"""Files that come packed with gzip: a million lines are then less than a body may hold."""

from __future__ import annotations

import gzip
import io
import zlib
from typing import BinaryIO, cast

from billtrack.usage.files.lines import UnreadableFile

GZIP = b"\x1f\x8b"
MAX_UNPACKED = 1 << 29
"""Bytes of a packed file once it is unpacked: some five million lines."""


def unpacked(file: BinaryIO) -> BinaryIO:
    """Return the file as it is, or what a packed one holds, unpacked while it is read."""
    whole = io.BufferedReader(cast("io.RawIOBase", file))
    if whole.peek(len(GZIP))[: len(GZIP)] != GZIP:
        return whole
    return cast("BinaryIO", io.BufferedReader(cast("io.RawIOBase", _Unpacking(whole))))


class _Unpacking(io.RawIOBase):
    """What a gzip file holds, as far as it is read. Raises UnreadableFile when it is damaged."""

    def __init__(self, packed: BinaryIO) -> None:
        self._content = gzip.GzipFile(fileobj=packed)
        self._left = MAX_UNPACKED

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        try:
            part = self._content.read1(len(buffer))
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableFile(
                "The gzip file is damaged. Pack it again, or send it plain."
            ) from error
        self._left -= len(part)
        if self._left < 0:
            size = MAX_UNPACKED // 1024**2
            raise UnreadableFile(f"Unpacked, the file is larger than {size} MiB. Cut it in parts.")
        buffer[: len(part)] = part
        return len(part)
