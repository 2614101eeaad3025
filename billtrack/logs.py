"""Logs: one line an event, with the ids of the request or job it belongs to."""

from __future__ import annotations

import logging
import sys

import structlog


class Unworried(logging.Filter):
    """Keeps Granian from warning of more threads than cores: ours wait for the database."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether the line is worth printing; named in granian-logs.json."""
        return "Python threads" not in record.getMessage()


def configure_logs() -> None:
    """Write billtrack's and the libraries' logs to standard output."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.dev.ConsoleRenderer(
                    colors=False, exception_formatter=structlog.dev.plain_traceback
                ),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("alembic", "weasyprint", "fontTools", "huey"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
