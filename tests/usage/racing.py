"""Writers that run at once: threads of this process, and processes of their own."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, TypeVar

from flask import Flask

from billtrack.entrypoints.app import create_app
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db

T = TypeVar("T")
PATIENCE = 60.0
Call = tuple[str, str, Any, dict[str, str]]
"""method, path, JSON body, headers"""


def in_threads(app: Flask, actions: Sequence[Callable[[], T]]) -> list[T]:
    """Run the actions at once, each in an app context of its own; return what they return."""
    start = threading.Barrier(len(actions))

    def run(action: Callable[[], T]) -> T:
        with app.app_context():
            start.wait(timeout=PATIENCE)
            return action()

    with ThreadPoolExecutor(len(actions)) as threads:
        return list(threads.map(run, actions))


def overlapping(app: Flask, first: Callable[[], T], second: Callable[[], T]) -> list[T]:
    """Run each in a transaction; the second begins when the first is done but not yet stored."""
    is_done = threading.Event()

    def lead() -> T:
        with transaction():
            result = first()
            is_done.set()
            # Long enough for the other to pass whatever does not make it wait.
            time.sleep(0.3)
        return result

    def follow() -> T:
        assert is_done.wait(timeout=PATIENCE)
        with transaction():
            return second()

    return in_threads(app, [lead, follow])


def in_processes(settings: Settings, calls: Sequence[Call], *, times: int) -> list[list[Any]]:
    """Send the same calls from several processes at once; return what each was answered."""
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(times, context) as processes:
        start = manager.Barrier(times)
        work = [processes.submit(_send, settings, calls, start) for _ in range(times)]
        return [future.result(timeout=PATIENCE) for future in work]


def _send(settings: Settings, calls: Sequence[Call], start: Any) -> list[Any]:
    app = create_app(settings)
    client = app.test_client(use_cookies=False)
    answers = []
    for method, path, body, headers in calls:
        start.wait(timeout=PATIENCE)
        answer = client.open(path, method=method, json=body, headers=headers)
        answers.append((answer.status_code, answer.get_json()))
    with app.app_context():
        db.engine.dispose()
    return answers
