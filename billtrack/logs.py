"""Logs: one line an event, with the ids of the request or job it belongs to.

As text for people, or as JSON, one object a line. Either way the libraries' loggers write the
same lines, and what looks like a secret is left out.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal, TextIO

import structlog

from billtrack.redaction import redact

Format = Literal["text", "json"]
FORMAT_SETTING = "BILLTRACK_LOG_FORMAT"

_FIRST = ("timestamp", "level", "event", "logger")
_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


class Unworried(logging.Filter):
    """Keeps Granian from warning of more threads than cores: ours wait for the database."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the line is worth printing; named in granian-logs.json."""
        return "Python threads" not in record.getMessage()


class OneWriter(logging.StreamHandler[TextIO]):
    """Writes lines to a stream without making threads wait for each other.

    A thread leaves its line behind; whichever finds nobody writing writes all that lie there,
    in the order in which they came. Behind the usual lock, threads queue at every line.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._lines: deque[str] = deque()
        self._writing = threading.Lock()

    def handle(self, record: logging.LogRecord) -> bool:
        """Leave the line to be written, at once unless somebody is writing."""
        if not self.filter(record):
            return False
        try:
            self._lines.append(self.format(record) + self.terminator)
            self._write_what_waits()
        except Exception:  # noqa: BLE001 (a line that cannot be written stops no work)
            self.handleError(record)
        return True

    def _write_what_waits(self) -> None:
        # A line may come between the last look of who wrote and its letting go.
        while self._lines and self._writing.acquire(blocking=False):
            try:
                self._write_all()
            finally:
                self._writing.release()

    def _write_all(self) -> None:
        lines: list[str] = []
        with suppress(IndexError):
            while True:
                lines.append(self._lines.popleft())
        self.stream.write("".join(lines))
        self.stream.flush()


def configure_logs(log_format: Format) -> None:
    """Write billtrack's and the libraries' logs to standard output."""
    structlog.configure(
        processors=[
            # What is not printed, such as probes of health, costs next to nothing.
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = OneWriter(sys.stdout)
    handler.setFormatter(make_formatter(log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("alembic", "weasyprint", "fontTools", "huey"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.captureWarnings(True)


def make_formatter(log_format: Format | None = None) -> logging.Formatter:
    """Return what makes lines of events; granian-logs.json names it, for Granian's own.

    There the format comes from the environment: Granian starts before any settings are read.
    """
    if log_format is None:
        log_format = "json" if os.environ.get(FORMAT_SETTING) == "json" else "text"
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        )
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _redact,
            renderer,
        ],
    )


def json_line(text: str, *, logger: str) -> str:
    """Return words for people as a line of a JSON log. Nothing is left out of them."""
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    line = {"timestamp": now, "level": "info", "event": text, "logger": logger}
    return json.dumps(line, ensure_ascii=False)


def _redact(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Leave out what looks like a secret; put first what people look for first."""
    ordered = {name: event.pop(name) for name in _FIRST if name in event}
    ordered.update(event)
    return {name: redact(value, name) for name, value in ordered.items()}
