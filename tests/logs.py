"""Read what is logged, however another test has configured the logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from structlog.testing import LogCapture
from structlog.types import EventDict

from billtrack.platform import logs


@contextmanager
def capture_logs() -> Iterator[list[EventDict]]:
    """Collect the events of all loggers while the block runs.

    A logger keeps the list of processors under which it was used first: structlog's default or
    that of `configure_logs`. `structlog.testing.capture_logs` changes only the present one.
    """
    capture = LogCapture()
    now = structlog.get_config()["processors"]
    lists = [now] if now is logs._PROCESSORS else [now, logs._PROCESSORS]
    saved = [(processors, processors.copy()) for processors in lists]
    for processors in lists:
        processors[:] = [capture]
    try:
        yield capture.entries
    finally:
        for processors, before in reversed(saved):
            if processors == [capture]:  # not configured meanwhile
                processors[:] = before
