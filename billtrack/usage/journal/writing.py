"""Store what a process has counted: in the web server and in the worker by one thread of each."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from multiprocessing.util import Finalize
from typing import Any

import structlog
from flask import Flask
from sqlalchemy import case
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from billtrack.accounts.queries import find_activity
from billtrack.db import Base, transaction
from billtrack.direct import is_postgresql
from billtrack.extensions import db
from billtrack.usage.journal.models import UsageSource, UsageSourceHour
from billtrack.usage.journal.tally import Hour, current_tally

log = structlog.get_logger(__name__)

WRITE_EVERY = 5.0
LAST_WRITE_SECONDS = 5.0
COUNTED = ("accepted", "late", "duplicate", "conflict", "rejected", "reversed")


def keep_writing(app: Flask) -> None:
    """Store what this process counts every five seconds, and at its graceful end."""
    stopping = threading.Event()
    thread = threading.Thread(
        target=_write_until, args=(app, stopping), name="usage journal", daemon=True
    )
    thread.start()

    def finish() -> None:
        stopping.set()
        thread.join(timeout=LAST_WRITE_SECONDS)

    # Unlike those of atexit, these run at the end of a web server's worker, too.
    Finalize(None, finish, exitpriority=100)


def write_noted() -> None:
    """Add what was counted since the last time to the tables; nothing is lost where that fails.

    Accounts that were removed meanwhile, as those of the demo can be, are left out.
    Owns its transaction. Raises SQLAlchemyError, and keeps what was counted for the next time.
    """
    tally = current_tally()
    hours = tally.take()
    if not hours:
        return
    try:
        with transaction():
            known = find_activity([source for hour in hours for source, _ in hour.counts])
            # In sorted order, so that two writers never wait for each other in a circle.
            _add_sources([row for row in _spans(hours) if row["account_id"] in known])
            _add_hours([row for row in _hour_rows(hours) if row["account_id"] in known])
    except BaseException:
        tally.give_back(hours)
        raise


def _write_until(app: Flask, stopping: threading.Event) -> None:
    is_last = False
    while not is_last:
        is_last = stopping.wait(WRITE_EVERY)
        try:
            with app.app_context():
                write_noted()
        except SQLAlchemyError as error:
            log.warning("database_unavailable", error=str(error))
        except Exception:
            # Without this thread nothing would be counted any more, and nobody would see why.
            log.exception("usage_journal_stumbled")


def _spans(hours: Collection[Hour]) -> list[dict[str, Any]]:
    """Return the first and last instant at which each source was seen, by source."""
    firsts = sorted((source, at) for hour in hours for source, at in hour.first.items())
    lasts = sorted((source, at) for hour in hours for source, at in hour.last.items())
    first = dict(reversed(firsts))
    return [
        {"account_id": source, "first_seen_at": first[source], "last_seen_at": at}
        for source, at in dict(lasts).items()
    ]


def _add_sources(rows: Sequence[dict[str, Any]]) -> None:
    """Note when the sources were seen; one that is seen later than it was is not silent."""
    if not rows:
        return
    statement = _insert(UsageSource)
    first, first_known = statement.excluded.first_seen_at, UsageSource.first_seen_at
    seen, known = statement.excluded.last_seen_at, UsageSource.last_seen_at
    changes = {
        "first_seen_at": case((first < first_known, first), else_=first_known),
        "last_seen_at": case((seen > known, seen), else_=known),
        "silent_since_at": case((seen > known, None), else_=UsageSource.silent_since_at),
    }
    upsert = statement.on_conflict_do_update(index_elements=["account_id"], set_=changes)
    db.session.connection().execute(upsert, rows)


def _add_hours(rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    statement = _insert(UsageSourceHour)
    sums = {
        name: getattr(UsageSourceHour, name) + getattr(statement.excluded, name) for name in COUNTED
    }
    upsert = statement.on_conflict_do_update(index_elements=["account_id", "starts_at"], set_=sums)
    db.session.connection().execute(upsert, rows)


def _hour_rows(hours: Collection[Hour]) -> Iterator[dict[str, Any]]:
    for hour in sorted(hours, key=lambda hour: hour.starts_at):
        for source in sorted({source for source, _ in hour.counts}):
            numbers = {name: hour.counts.get((source, name), 0) for name in COUNTED}
            yield {"account_id": source, "starts_at": hour.starts_at, **numbers}


def _insert(model: type[Base]) -> Any:
    return postgresql.insert(model) if is_postgresql() else sqlite.insert(model)
