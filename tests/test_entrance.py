"""The way in, served by Granian: bodies first, the short way, then the application in a thread."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from billtrack.entrance import make_environ
from billtrack.http import MAX_BODY
from tests.scenarios.harness import eventually
from tests.services.processes import free_port

PIECE = 64 * 1024
PIECES = 1000

SERVED = f"""
import json, pathlib, time
from billtrack.entrance import Entrance

CALLS = pathlib.Path("calls")

def note(text):
    with CALLS.open("a") as file:
        file.write(text + "\\n")

def stream():
    note("begun")
    try:
        for number in range({PIECES}):
            note("piece")
            yield bytes([number % 256]) * {PIECE}
    finally:
        note("closed")

def app(environ, start_response):
    path = environ["PATH_INFO"]
    note(path)
    if path == "/fail":
        raise RuntimeError("on purpose")
    if path == "/fail-later":
        start_response("200 OK", [])
        return (int(piece) for piece in ["no number"])
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return stream()
    if path == "/empty":
        start_response("204 No Content", [])
        return [b""]
    if path == "/file":
        start_response("200 OK", [("Content-Length", "{10 * PIECE}")])
        pathlib.Path("file").write_bytes(b"f" * {10 * PIECE})
        return environ["wsgi.file_wrapper"](open("file", "rb"))
    if path == "/echo":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["wsgi.input"].read()]
    told = {{key: value for key, value in environ.items() if isinstance(value, str)}}
    start_response("200 OK", [("X-Twice", "a"), ("X-Twice", "b")])
    return [json.dumps(told).encode()]

async def short_way(environ):
    if environ["PATH_INFO"] == "/short":
        return "201 CREATED", [("X-Way", "short")], b"short " + environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/gone":
        note("asked")
    return None

served = Entrance(app, short_way)
"""


class Server:
    """The entrance before a stub, and what the stub has noted."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        (folder / "stub.py").write_text(SERVED)
        command = ["-m", "granian", "--interface", "rsgi", "--http", "1", "--no-ws"]
        command += ["--port", str(self.port), "--log-level", "critical", "stub:served"]
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        environment = {**os.environ, "TMPDIR": str(self.temporary)}
        self._process = subprocess.Popen([sys.executable, *command], cwd=folder, env=environment)
        eventually(self._listens, "the server listens")

    @property
    def notes(self) -> list[str]:
        return (self._folder / "calls").read_text().splitlines()

    def ask(
        self, path: str, body: bytes | None = None, method: str | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        way = method or ("GET" if body is None else "POST")
        with closing(connection):
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(way, path, body, names)
            answer = connection.getresponse()
            return answer, answer.read()

    def send(self, text: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(text)
        return connection

    def close(self) -> None:
        self._process.terminate()
        assert self._process.wait(30) == 0

    def _listens(self) -> bool:
        assert self._process.poll() is None
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("entrance"))
    yield running
    running.close()


def test_it_tells_the_application_what_was_asked(server: Server) -> None:
    answer, body = server.ask("/a%20b/%C3%BC?q=%C3%BC+1", b"abc", X_One="1", Cookie="a=1")
    told = json.loads(body)
    assert answer.headers.get_all("X-Twice") == ["a", "b"]
    assert told["PATH_INFO"].encode("latin-1").decode() == "/a b/ü"
    wanted = {
        "REQUEST_METHOD": "POST",
        "QUERY_STRING": "q=%C3%BC+1",
        "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(server.port),
        "REMOTE_ADDR": "127.0.0.1",
        "CONTENT_LENGTH": "3",
        "HTTP_X_ONE": "1",
        "HTTP_COOKIE": "a=1",
        "wsgi.url_scheme": "http",
    }
    assert {name: told[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("client", "address"),
    [("192.0.2.7:5000", "192.0.2.7"), ("[2001:db8::7]:5000", "2001:db8::7"), ("[::1]:1", "::1")],
)
def test_it_tells_the_address_of_whoever_asks(client: str, address: str) -> None:
    asked: Any = SimpleNamespace(
        method="GET", path="/", query_string="", http_version="1.1", scheme="http",
        server="[2001:db8::1]:6009", client=client, headers={},
    )  # fmt: skip
    told = make_environ(asked)
    assert (told["REMOTE_ADDR"], told["SERVER_NAME"]) == (address, "2001:db8::1")
    assert told["SERVER_PORT"] == "6009"


def test_it_joins_headers_and_leaves_out_names_that_pretend(server: Server) -> None:
    request = (
        b"GET /environ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: 1\r\nX-A: 2\r\n"
        b"Cookie: a=1\r\nCookie: b=2\r\nX_Forwarded_For: 6.6.6.6\r\nContent_Length: 7\r\n\r\n"
    )
    with server.send(request) as connection, connection.makefile("rb") as file:
        told = json.loads(file.read().partition(b"\r\n\r\n")[2])
    assert (told["HTTP_X_A"], told["HTTP_COOKIE"]) == ("1,2", "a=1;b=2")
    assert not told.keys() & {"HTTP_X_FORWARDED_FOR", "CONTENT_LENGTH", "HTTP_CONTENT_LENGTH"}


def test_it_tells_bytes_beyond_ascii_as_they_came(server: Server) -> None:
    request = "GET /ü€?q=ü€ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode()
    with server.send(request) as connection, connection.makefile("rb") as file:
        told = json.loads(file.read().partition(b"\r\n\r\n")[2])
    assert told["PATH_INFO"].encode("latin-1").decode() == "/ü€"
    assert told["QUERY_STRING"].encode("latin-1").decode() == "q=ü€"


def test_it_hands_on_the_whole_body(server: Server) -> None:
    large = bytes(range(256)) * 10_000
    assert server.ask("/echo", large)[1] == large
    assert server.ask("/echo", b"")[1] == b""
    assert server.ask("/short", b"body")[1] == b"short body"


def test_it_works_on_nothing_that_has_not_arrived(server: Server) -> None:
    cut = b"POST /cut HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nhalf"
    server.send(cut).close()
    with server.send(cut) as ended, ended.makefile("rb") as answer:
        ended.shutdown(socket.SHUT_WR)
        assert answer.readline().startswith(b"HTTP/1.1 400")
    with server.send(cut) as waiting:
        assert server.ask("/echo", b"other")[1] == b"other"
        assert "/cut" not in server.notes
        waiting.sendall(b"-" * 46)
        assert waiting.recv(100).startswith(b"HTTP/1.1 200")
    assert server.notes.count("/cut") == 1


def test_it_leaves_bodies_unread_that_the_application_refuses(server: Server) -> None:
    for header in (f"Content-Length: {MAX_BODY + 1}", "Transfer-Encoding: chunked"):
        request = f"POST /echo HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode()
        with server.send(request) as connection:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")


def test_it_answers_without_a_body(server: Server) -> None:
    answer, body = server.ask("/empty")
    assert (answer.status, body, answer.headers["Content-Length"]) == (204, b"", None)
    answer, body = server.ask("/file", method="HEAD")
    assert (answer.headers["Content-Length"], body) == (str(10 * PIECE), b"")


def test_it_answers_500_when_the_application_fails(server: Server) -> None:
    for path in ("/fail", "/fail-later"):
        answer, body = server.ask(path)
        assert (answer.status, body) == (500, b"")
    assert server.ask("/echo", b"still there")[1] == b"still there"


def test_it_sends_files_and_streams_whole(server: Server) -> None:
    answer, body = server.ask("/file")
    assert (answer.headers["Content-Length"], body) == (str(10 * PIECE), b"f" * 10 * PIECE)
    _, body = server.ask("/stream")
    assert len(body) == PIECE * PIECES
    assert body[PIECE * 700] == 700 % 256
    assert not list(server.temporary.iterdir())


def test_it_makes_no_more_than_is_read_and_stops_for_whoever_has_gone(server: Server) -> None:
    before = server.notes
    reader = server.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    assert reader.recv(10)
    eventually(lambda: len(server.notes) > len(before), "the stream begins")
    made = steady(lambda: server.notes.count("piece") - before.count("piece"))
    assert 2 <= made < PIECES / 4
    assert server.notes.count("closed") == before.count("closed")
    reader.close()
    eventually(lambda: server.notes.count("closed") > before.count("closed"), "it is closed")
    assert server.notes.count("piece") - before.count("piece") < PIECES / 4


def steady(count: Callable[[], int]) -> int:
    """Return a number once it has not changed for half a second."""
    seen: list[tuple[float, int]] = []

    def is_steady() -> bool:
        now, number = time.monotonic(), count()
        if not seen or seen[-1][1] != number:
            seen.append((now, number))
        return now - seen[-1][0] > 0.5

    eventually(is_steady, "it stays the same")
    return seen[-1][1]
