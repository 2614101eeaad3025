"""The application works on a few requests at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from billtrack.entrypoints.server.concurrency import Places
from billtrack.platform.config import WORKING_THREADS
from tests.scenarios.harness import eventually


class Application:
    """Answers with the body; counts how many requests it works on while it is held."""

    def __init__(self) -> None:
        self.working = 0
        self.most = 0
        self.go_on = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        with self._lock:
            self.working += 1
            self.most = max(self.most, self.working)
        assert self.go_on.wait(timeout=60)
        with self._lock:
            self.working -= 1
        start_response("200 OK", [])
        return [environ["wsgi.input"].read()]


def ask(app: WSGIApplication, length: str, sent: Any) -> tuple[str, bytes]:
    statuses: list[str] = []

    def start_response(status: str, _headers: Any, _error: Any = None) -> Any:
        statuses.append(status)

    parts = app({"CONTENT_LENGTH": length, "wsgi.input": sent}, start_response)
    return statuses[0], b"".join(parts)


def test_it_lets_few_work_at_once() -> None:
    application = Application()
    app = Places(application)
    with ThreadPoolExecutor(3 * WORKING_THREADS) as pool:
        answers = [pool.submit(ask, app, "1", BytesIO(b"x")) for _ in range(3 * WORKING_THREADS)]
        eventually(lambda: application.working == WORKING_THREADS, lambda: application.working)
        application.go_on.set()
        assert {answer.result() for answer in answers} == {("200 OK", b"x")}
    assert application.most == WORKING_THREADS
