"""The whole body comes first: then the application, a few requests at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from billtrack.config import WORKING_THREADS
from billtrack.http import MAX_BODY
from billtrack.waiting import BodyFirst, Places
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


class Unreadable:
    def read(self, _size: int) -> bytes:
        raise AssertionError("nobody reads this")


def ask(app: WSGIApplication, length: str, sent: Any) -> tuple[str, bytes]:
    statuses: list[str] = []

    def start_response(status: str, _headers: Any, _error: Any = None) -> Any:
        statuses.append(status)

    parts = app({"CONTENT_LENGTH": length, "wsgi.input": sent}, start_response)
    return statuses[0], b"".join(parts)


def ready() -> Application:
    application = Application()
    application.go_on.set()
    return application


def test_it_hands_on_the_whole_body() -> None:
    assert ask(BodyFirst(ready()), "5", BytesIO(b"whole")) == ("200 OK", b"whole")
    assert ask(BodyFirst(ready()), "", BytesIO(b"")) == ("200 OK", b"")


def test_it_refuses_a_body_that_was_cut() -> None:
    application = ready()
    status, _ = ask(BodyFirst(application), "50", BytesIO(b"half of it"))
    assert status == "400 Bad Request"
    assert application.most == 0


def test_it_leaves_a_body_that_is_too_large_for_the_application_to_refuse() -> None:
    seen: list[Any] = []

    def refuse(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        seen.append(environ["wsgi.input"])
        start_response("413 Content Too Large", [])
        return [b""]

    large = Unreadable()
    assert ask(BodyFirst(refuse), str(MAX_BODY + 1), large)[0] == "413 Content Too Large"
    assert seen == [large]


def test_it_lets_few_work_at_once() -> None:
    application = Application()
    app = Places(application)
    with ThreadPoolExecutor(3 * WORKING_THREADS) as pool:
        answers = [pool.submit(ask, app, "1", BytesIO(b"x")) for _ in range(3 * WORKING_THREADS)]
        eventually(lambda: application.working == WORKING_THREADS, lambda: application.working)
        application.go_on.set()
        assert {answer.result() for answer in answers} == {("200 OK", b"x")}
    assert application.most == WORKING_THREADS
