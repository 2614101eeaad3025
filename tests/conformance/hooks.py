"""Hooks into billtrack: they show which part has answered, and do what has no public interface.

All hooks of the table are in this file. A watched part works as always and leaves its name in
`Watch.seen`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from apiflask import APIFlask
from flask import request_started
from sqlalchemy import select

from billtrack.accounts.credentials.api_keys import find_together
from billtrack.api.v1 import usage_batches
from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.cli import usage
from billtrack.platform import limits
from billtrack.platform.db import end_read
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.runner import Runner
from billtrack.platform.limits import Budget
from billtrack.usage.imports.operations import USAGE_IMPORT
from billtrack.usage.imports.running import UsageImporter
from billtrack.usage.ingest.store import postgresql_copy, sqlite
from billtrack.usage.records.meters import known_meters, meter_ids
from billtrack.usage.sources.writing import write_noted
from tests.entrypoints.server.fast_path.loops import before

FRAMEWORK, LOOP = "framework", "event loop"
PLAIN_READER, MODELS, LARGE = "plain reader", "models", "large batch"
PARTS = frozenset({FRAMEWORK, LOOP, PLAIN_READER, MODELS, LARGE})

LARGE_ON_SQLITE = 500
"""Records that SQLite stores by the statements for large batches."""


class Watch:
    """Names of the parts that were at work since `begin`."""

    def __init__(self) -> None:
        self.seen: set[str] = set()
        self._loop_answers: Sequence[int] = ()
        self._answered_before = 0

    def begin(self) -> None:
        self.seen.clear()
        self._answered_before = len(self._loop_answers)

    def parts(self) -> frozenset[str]:
        in_loop = {LOOP} if len(self._loop_answers) > self._answered_before else set()
        return frozenset(self.seen | in_loop)

    def note_loop(self, answers: Sequence[int]) -> None:
        """Look at the list of what an event loop has answered."""
        self._loop_answers = answers


@contextmanager
def watching(app: APIFlask) -> Iterator[Watch]:
    """Watch the parts of the app that a record may pass."""
    watch = Watch()

    def started(_sender: Any, **_more: Any) -> None:
        watch.seen.add(FRAMEWORK)

    with pytest.MonkeyPatch.context() as patch:
        for module, name, label in (
            (usage_batches, "read_batch", _reader),
            (postgresql_copy, "append", _copied),
            (sqlite, "append", _inserted),
        ):
            patch.setattr(module, name, _watched(getattr(module, name), label, watch))
        with request_started.connected_to(started, app):
            yield watch


def _watched(
    work: Callable[..., Any], label: Callable[[Any], str | None], watch: Watch
) -> Callable[..., Any]:
    def watched(*arguments: Any) -> Any:
        result = work(*arguments)
        if (found := label(result)) is not None:
            watch.seen.add(found)
        return result

    return watched


def _reader(result: object) -> str:
    return MODELS if result is None else PLAIN_READER


def _copied(_ids: object) -> str:
    return LARGE


def _inserted(ids: Sequence[int]) -> str | None:
    return LARGE if len(ids) >= LARGE_ON_SQLITE else None


@contextmanager
def event_loop(app: APIFlask, watch: Watch) -> Iterator[None]:
    """Put the fast path in the event loop before the app."""
    with before(app) as first:
        watch.note_loop(first.statuses)
        yield


@contextmanager
def closing_apps_of_commands() -> Iterator[None]:
    """Close the connections of apps that commands make; usually the process ends instead."""
    apps: list[APIFlask] = []

    def made() -> APIFlask:
        apps.append(create_app())
        return apps[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(usage, "create_app", made)
        yield
    for app in apps:
        with app.app_context():
            db.engine.dispose()


def see_keys(secrets: Sequence[str]) -> None:
    """Fill the caches of API keys and events, which the fast path needs."""
    find_together(secrets)
    known_meters().update(meter_ids())
    end_read()


def store_counts() -> None:
    """Write the counts of sources and the rejections, which wait in memory, to the database."""
    write_noted()


def budget_left(key_id: int) -> int:
    """Return how many usage records may still be sent by this API key."""
    ((_, _), (_, left)) = limits.headers(Budget.USAGE, f"key:{key_id}")
    return int(left.partition("r=")[2].partition(";")[0])


def run_imports(app: APIFlask) -> None:
    """Run queued imports as a worker would."""
    runner = Runner(
        {USAGE_IMPORT: UsageImporter(app.extensions["billtrack.storage"]).run}, worker_id="w"
    )
    db.session.rollback()
    for job_id in db.session.scalars(select(Job.id).where(Job.status == "queued")).all():
        with app.app_context():
            runner.run(job_id)
    db.session.rollback()
