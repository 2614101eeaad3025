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
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Literal, TextIO

import structlog

from billtrack.platform.redaction import redact

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
        """Write the line of a library."""
        if not self.filter(record):
            return False
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 (a line that cannot be made stops no work)
            self.handleError(record)
        else:
            self.write_line(line)
        return True

    def write_line(self, line: str) -> None:
        """Leave the line to be written, at once unless somebody is writing."""
        self._lines.append(line + self.terminator)
        try:
            self._write_what_waits()
        except (OSError, ValueError) as error:  # a full disk, a closed stream: stops no work
            print(f"A line of the log is lost: {error}", file=sys.stderr)  # noqa: T201

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


class Lines:
    """What structlog hands finished lines to."""

    def __init__(self, name: str = "", *, write: Callable[[str], None]) -> None:
        self.name = name
        self.debug = self.info = self.warning = self.error = self.critical = write


def configure_logs(log_format: Format) -> None:
    """Write billtrack's and the libraries' logs to standard output."""
    writer = OneWriter(sys.stdout)
    writer.setFormatter(make_formatter(log_format))
    structlog.configure(
        processors=[*_SHARED, *_finishing(log_format)],
        # What is not printed, such as probes of health, costs next to nothing.
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        # Not by way of the library's loggers, which takes longer than the rest of a request.
        logger_factory=lambda *names: Lines(*names[:1], write=writer.write_line),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    root.handlers[:] = [writer]
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
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_SHARED,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_finishing(log_format),
        ],
    )


def _finishing(log_format: Format) -> list[structlog.typing.Processor]:
    """Return what makes a line of an event, whoever it comes from."""
    as_json = structlog.processors.JSONRenderer(ensure_ascii=False)
    renderer = as_json if log_format == "json" else _as_text
    return [structlog.processors.format_exc_info, _redact, renderer]


def _as_text(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> str:
    """Write an event for people: when, what, where, then name=value, and a traceback below."""
    traceback = event.pop("exception", "")
    timestamp, level, what, logger = (event.pop(name, "") for name in _FIRST)
    values = "".join(f" {name}={_quoted(value)}" for name, value in event.items())
    line = f"{timestamp} [{level:<8}] {what:<30} [{logger}]{values}"
    return f"{line}\n{traceback}" if traceback else line


def _quoted(value: object) -> str:
    is_plain = not isinstance(value, str) or (value.isprintable() and " " not in value)
    return str(value) if is_plain else repr(value)


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
