"""Send what is made piece by piece no faster than it is read.

Granian's own streams take everything that they are given into memory, however slowly the client
reads. From a file it reads only what it can send: so a stream is written into a named pipe, which
holds 64 KiB and then lets the writer wait.
"""

from __future__ import annotations

import errno
import os
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

PATIENCE_SECONDS = 30.0
"""How long to wait for somebody who reads."""

PAUSE_SECONDS = 0.002


class NobodyReads(Exception):
    """The client has gone."""


def send(pieces: Iterable[bytes], start: Callable[[str], object]) -> None:
    """Write the pieces where the server reads them, from the path that `start` is given.

    Returns when all is written; raises NobodyReads when the client has gone.
    """
    with tempfile.TemporaryDirectory(prefix="billtrack-") as folder:
        path = Path(folder, "pipe")
        os.mkfifo(path, mode=0o600)
        start(str(path))
        pipe = _open(path)
    # The reader has it open: nobody needs its name any more.
    try:
        os.set_blocking(pipe, True)
        for piece in pieces:
            _write(pipe, piece)
    finally:
        os.close(pipe)


def _open(path: Path) -> int:
    """Open a pipe for writing once somebody reads it."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            # To wait inside the call would be for ever, if nobody comes.
            return os.open(path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            if time.monotonic() > give_up_at:
                raise NobodyReads from error
        time.sleep(PAUSE_SECONDS)


def _write(pipe: int, piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        try:
            rest = rest[os.write(pipe, rest) :]
        except BrokenPipeError as error:
            raise NobodyReads from error
