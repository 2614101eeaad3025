"""Records that will not be stored, and the file that keeps them."""

from __future__ import annotations

import fcntl
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

log = logging.getLogger("billtrack_client")


@dataclass(frozen=True, slots=True)
class Refused:
    """A record that will not be stored, with the server's code and words.

    Codes of this package: `spool_full` (no room to keep it), `not_sent` (closed before the
    server took it, without a spool).
    """

    record: Mapping[str, Any]
    code: str
    detail: str


class Refusals:
    """Tells of refused records, and keeps them in `refused.jsonl` of the spool.

    Several processes may write to the file.
    """

    def __init__(self, folder: Path | None, on_refused: Callable[[Refused], None] | None) -> None:
        self._path = folder / "refused.jsonl" if folder is not None else None
        self._on_refused = on_refused

    def keep(self, line: bytes, *, code: str, detail: str) -> None:
        """Write the record with its reason to the disk, and tell of it."""
        refused = _refused(line, code=code, detail=detail)
        if self._path is not None:
            try:
                _append(self._path, refused)
            except OSError:
                log.exception("a refused record cannot be kept: %s", refused)
        self._tell(refused)

    def tell_only(self, line: bytes, *, code: str, detail: str) -> None:
        """Tell of a record that there is no room or time for."""
        self._tell(_refused(line, code=code, detail=detail))

    def _tell(self, refused: Refused) -> None:
        if self._on_refused is None:
            log.error("a usage record is refused: %s", refused)
            return
        try:
            self._on_refused(refused)
        except Exception:  # it is logged; a fault in the callback must not stop recording
            log.exception("on_refused failed for %s", refused)


def _refused(line: bytes, *, code: str, detail: str) -> Refused:
    try:
        record = json.loads(line)
    except ValueError:
        record = {"unreadable": line.decode(errors="replace")}
    return Refused(record, code, detail)


def _append(path: Path, refused: Refused) -> None:
    entry = {"refused_at": datetime.now(UTC).isoformat(), **asdict(refused)}
    line = json.dumps(entry).encode() + b"\n"
    with path.open("ab", buffering=0) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write(line)
        os.fsync(file.fileno())
