"""Store what a process has noted: in the web server and in the worker by one thread of each."""

from __future__ import annotations

import threading
from multiprocessing.util import Finalize

import structlog
from flask import Flask
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError

from billtrack.platform.db import transaction
from billtrack.usage.sources.rows import add_hours, add_refused, add_sources
from billtrack.usage.sources.tally import Tally, current_tally

log = structlog.get_logger(__name__)

WRITE_EVERY = 5.0
PAUSE = 0.25
"""Seconds between two writings at least, however much is refused."""

LAST_WRITE_SECONDS = 5.0


def keep_writing(app: Flask) -> None:
    """Store what this process notes every five seconds, refused records at once, all at its end.

    That is a graceful end: who is killed stores nothing.
    """
    stopping = threading.Event()
    with app.app_context():
        tally = current_tally()
    thread = threading.Thread(
        target=_write_until, args=(app, tally, stopping), name="usage journal", daemon=True
    )
    thread.start()

    def finish() -> None:
        stopping.set()
        tally.refused.wake()
        thread.join(timeout=LAST_WRITE_SECONDS)

    # Unlike those of atexit, these run at the end of a web server's worker, too.
    Finalize(None, finish, exitpriority=100)


def write_noted() -> None:
    """Store what was noted since the last time; nothing is lost where that fails.

    Owns its transactions. Raises SQLAlchemyError, and keeps what was noted for the next time.
    """
    tally = current_tally()
    _write_counts(tally)
    _write_refused(tally)


def _write_until(app: Flask, tally: Tally, stopping: threading.Event) -> None:
    is_last = False
    while not is_last:
        stopping.wait(PAUSE)
        tally.refused.wait(WRITE_EVERY)
        is_last = stopping.is_set()
        try:
            with app.app_context():
                write_noted()
        except SQLAlchemyError as error:
            log.warning("database_unavailable", error=str(error))
        except Exception:
            # Without this thread nothing would be noted any more, and nobody would see why.
            log.exception("usage_journal_stumbled")


def _write_counts(tally: Tally) -> None:
    hours = tally.take_hours()
    if not hours:
        return
    try:
        with transaction():
            add_sources(hours)
            add_hours(hours)
    except BaseException:
        tally.give_back_hours(hours)
        raise


def _write_refused(tally: Tally) -> None:
    refused = tally.refused.take()
    if not refused:
        return
    try:
        with transaction():
            add_refused(list(refused.values()))
    except (DataError, IntegrityError):
        # Tried again it would fail again, and hold up all that comes after it.
        log.exception("refused_records_dropped", records=len(refused))
    except BaseException:
        tally.refused.give_back(refused)
        raise
