"""The server adapter on Granian: bodies, the fast path, then the application in a thread."""

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
from typing import Any

import pytest

from billtrack.entrypoints.server.environ import make_environ
from billtrack.platform.request_head import HEADER_FAULT
from tests.scenarios.harness import eventually
from tests.services.processes import free_port

PIECE = 64 * 1024
PIECES = 1000
LIMIT = 4 * 1024 * 1024
MEMORY = 6 * 1024 * 1024
SECONDS = 5
SINGLE = ("Idempotency-Key", "Authorization", "Content-Type", "Host", "Content-Length")

SERVED = f"""
import json, pathlib, time
from werkzeug.exceptions import HTTPException
from billtrack.entrypoints.server.adapter import ServerAdapter

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
    if environ["QUERY_STRING"] == "read":
        try:
            environ["wsgi.input"].read()
        except Exception as error:
            note("unread body")
            raise
    told = {{key: value for key, value in environ.items() if isinstance(value, str)}}
    start_response("200 OK", [("X-Twice", "a"), ("X-Twice", "b")])
    return [json.dumps(told).encode()]

async def fast_path(environ, body):
    if environ["PATH_INFO"] == "/short":
        await body.read({LIMIT})
        return "201 CREATED", [("X-Way", "short")], b"short " + environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/gone":
        note("asked")
    if environ["PATH_INFO"] == "/fail-first":
        raise OSError("on purpose")
    return None

class Gate:
    def prepare(self, environ):
        if environ["PATH_INFO"] == "/fail-unprepared":
            raise ValueError("on purpose")

    async def body_limit(self, environ, length):
        if environ["PATH_INFO"] == "/fail-head":
            raise RuntimeError("on purpose")
        return {{"/unread": 0, "/large": 10 * {LIMIT}}}.get(environ["PATH_INFO"], {LIMIT})

    def refuse(self, environ, error):
        if isinstance(error, HTTPException):
            return f"{{error.code}} {{error.name}}", [], error.description.encode()
        return "500 Internal Server Error", [], repr(error).encode()

served = ServerAdapter(app, Gate(), fast_path, body_seconds={SECONDS}, body_memory={MEMORY})
"""


class Server:
    """The adapter before a stub, and what the stub has noted."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder = folder
        (folder / "stub.py").write_text(SERVED)
        command = ["-m", "granian", "--interface", "asginl", "--http", "1", "--no-ws"]
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
    running = Server(tmp_path_factory.mktemp("adapter"))
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


@pytest.mark.parametrize("given", ["[2001:db8::7]", "2001:db8::7"])
def test_it_tells_addresses_of_ipv6_without_brackets(given: str) -> None:
    told = environ_of([], client=given)
    assert (told["REMOTE_ADDR"], told["SERVER_NAME"]) == ("2001:db8::7", "2001:db8::1")
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
    request = "GET /ü€?q=ü€ HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Name: né\r\n".encode()
    request += b"Cookie: city=Z\xfcrich\r\nCookie: a=1\r\nX-Raw: \xff\r\n\r\n"
    told = told_of(server, request)
    assert told["PATH_INFO"].encode("latin-1").decode() == "/ü€"
    assert told["QUERY_STRING"].encode("latin-1").decode() == "q=ü€"
    assert told["HTTP_X_NAME"].encode("latin-1").decode() == "né"
    assert told["HTTP_COOKIE"].encode("latin-1") == b"city=Z\xfcrich;a=1"
    assert told["HTTP_X_RAW"].encode("latin-1") == b"\xff"


@pytest.mark.parametrize(
    ("lines", "fault"),
    [
        *((f"{name}: a\r\n{name.lower()}: a", name) for name in SINGLE),
        ("X-Any: \xff", "X-Any"),
        ("X-Any: a\r\nX-Any: \xff", "X-Any"),
        ("Idempotency-Key: a", None),
        ("X-Any: a\r\nX-Any: a", None),
        ("Cookie: a=\xff\r\nCookie: b=1\r\nUser-Agent: \xff\r\nReferer: \xe9", None),
    ],
)
def test_it_notes_headers_that_cannot_be_read(lines: str, fault: str | None) -> None:
    sent = [line.encode("latin-1").split(b": ") for line in lines.split("\r\n")]
    noted = environ_of([(name.lower(), value) for name, value in sent])[HEADER_FAULT]
    assert (noted.errors[0].field if noted else None) == fault


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


def test_it_answers_before_a_body_that_the_head_refuses(server: Server) -> None:
    head = b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 20000000\r\n\r\n"
    with server.send(head) as connection, connection.makefile("rb") as answer:
        assert answer.readline().startswith(b"HTTP/1.1 200")
        assert answer.read().lower().count(b"connection: close") == 1
    answer_to_sender, body = server.ask("/unread", bytes(20_000_000))
    assert (answer_to_sender.status, json.loads(body)["CONTENT_LENGTH"]) == (200, "20000000")


def test_nobody_takes_an_unread_body_for_an_empty_one(server: Server) -> None:
    notes = server.notes.count("unread body")
    assert server.ask("/unread?read", b"{}")[0].status == 503
    assert server.notes.count("unread body") == notes + 1


def test_it_joins_chunks_and_tells_their_length(server: Server) -> None:
    pieces = [bytes([number]) * (number * 1000 + 1) for number in range(20)]
    answer, body = chunked(server, "/echo", pieces)
    assert (answer.status, body) == (200, b"".join(pieces))
    _, told = chunked(server, "/environ", pieces)
    assert json.loads(told)["CONTENT_LENGTH"] == str(sum(map(len, pieces)))
    assert "HTTP_TRANSFER_ENCODING" not in json.loads(told)


def test_it_takes_no_more_than_the_limit(server: Server) -> None:
    assert server.ask("/echo", bytes(LIMIT))[0].status == 200
    assert server.ask("/echo", bytes(LIMIT + 1))[0].status == 413
    assert chunked(server, "/echo", [bytes(LIMIT), b"!"])[0].status == 413
    assert chunked(server, "/echo", [bytes(LIMIT)])[0].status == 200


def test_it_waits_for_a_body_only_so_long(server: Server) -> None:
    half = b"POST /late HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nhalf"
    with server.send(half) as waiting, waiting.makefile("rb") as answer:
        assert answer.readline().startswith(b"HTTP/1.1 408")
        assert b"within 5 seconds" in answer.read()  # and the connection ends
    assert "/late" not in server.notes


def test_all_bodies_together_take_so_much_memory_and_no_more(server: Server) -> None:
    size = LIMIT - 1000
    head = f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {LIMIT}\r\n\r\n".encode()
    with server.send(head + bytes(size)) as first:
        eventually(lambda: server.ask("/echo", bytes(size))[0].status == 503, "it is full")
        assert server.ask("/echo", b"small")[1] == b"small"
        first.sendall(bytes(1000))
        assert first.recv(100).startswith(b"HTTP/1.1 200")
    eventually(lambda: server.ask("/echo", bytes(size))[0].status == 200, "there is room again")


def chunked(
    server: Server, path: str, pieces: list[bytes]
) -> tuple[http.client.HTTPResponse, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    with closing(connection):
        connection.request("POST", path, iter(pieces), encode_chunked=True)
        answer = connection.getresponse()
        return answer, answer.read()


def environ_of(headers: list[tuple[bytes, bytes]], client: str = "::1") -> dict[str, Any]:
    return make_environ(
        {
            "method": "GET",
            "raw_path": b"/",
            "query_string": b"",
            "http_version": "1.1",
            "scheme": "http",
            "server": ("[2001:db8::1]", "6009"),
            "client": (client, "5000"),
            "headers": headers,
        }
    )


def told_of(server: Server, request: bytes) -> dict[str, str]:
    with server.send(request) as connection, connection.makefile("rb") as file:
        told: dict[str, str] = json.loads(file.read().partition(b"\r\n\r\n")[2])
        return told


def test_it_answers_without_a_body(server: Server) -> None:
    answer, body = server.ask("/empty")
    assert (answer.status, body, answer.headers["Content-Length"]) == (204, b"", None)
    answer, body = server.ask("/file", method="HEAD")
    assert (answer.headers["Content-Length"], body) == (str(10 * PIECE), b"")


def test_it_answers_whatever_fails(server: Server) -> None:
    for path, error in (
        ("/fail", b"RuntimeError('on purpose')"),
        ("/fail-later", b"ValueError(\"invalid literal for int() with base 10: 'no number'\")"),
        ("/fail-first", b"OSError('on purpose')"),
        ("/fail-unprepared", b"ValueError('on purpose')"),
        ("/fail-head", b"RuntimeError('on purpose')"),
    ):
        answer, body = server.ask(path, b"sent")
        assert (answer.status, body) == (500, error)
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
