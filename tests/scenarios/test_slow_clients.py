"""Clients that send or read a byte at a time, and a crowd: everybody is answered."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import billtrack
from billtrack.accounts.users.permissions import Role
from billtrack.platform.config import WORKING_THREADS
from tests.scenarios.accounts import Account, create_account
from tests.scenarios.books import Usage, assert_books_agree
from tests.scenarios.harness import Installation, eventually

PROCESSES = 2
SLOW = PROCESSES * WORKING_THREADS + 8
CROWD = 200
LARGE = "vendor/htmx/htmx.min.js"


class SlowSender:
    """Sends its record in pieces; the last one only when it is told to finish."""

    def __init__(self, installation: Installation, account: Account, key: str, usage: Usage):
        text = {**usage.__dict__, "idempotency_key": key}
        self._body = json.dumps(text).encode()
        self._connection = http.client.HTTPConnection("127.0.0.1", installation.port, timeout=60)
        self._connection.putrequest("POST", "/api/v1/usage/")
        self._connection.putheader("Authorization", f"Bearer {account.key}")
        self._connection.putheader("Content-Type", "application/json")
        self._connection.putheader("Content-Length", str(len(self._body)))
        self._connection.endheaders()
        for place in range(3):
            self._connection.send(self._body[place : place + 1])

    def finish(self) -> int:
        """Send the rest and return the status of the answer."""
        self._connection.send(self._body[3:])
        status = self._connection.getresponse().status
        self._connection.close()
        return status

    def vanish(self) -> None:
        self._connection.close()


class SlowReader:
    """Asks for a large file and reads a byte of it."""

    def __init__(self, installation: Installation, path: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        self._socket.settimeout(60)
        self._socket.connect(("127.0.0.1", installation.port))
        self._socket.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        self._begin = self._socket.recv(1)

    def finish(self) -> bytes:
        """Read the rest and return the body of the answer."""
        with self._socket, self._socket.makefile("rb") as file:
            assert self._begin + file.readline() == b"HTTP/1.1 200 OK\r\n"
            headers = http.client.parse_headers(file)
            return file.read(int(headers["Content-Length"]))

    def vanish(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def slow_readers(installation: Installation, content: bytes) -> Iterator[None]:
    readers = [SlowReader(installation, f"/static/{LARGE}") for _ in range(SLOW)]
    yield
    for reader in readers[2:]:
        reader.vanish()
    assert [reader.finish() for reader in readers[:2]] == [content] * 2


def test_slow_clients_stop_nobody_and_a_crowd_is_answered(installation: Installation) -> None:
    content = (Path(billtrack.__file__).parent / "static" / LARGE).read_bytes()
    provider = create_account(installation, Role.PROVIDER, "slow@test.example")
    customer = create_account(installation, Role.CUSTOMER, "slow-customer@test.example")
    usage = Usage(customer.id, "cpu_time", 7)
    with installation.start("serve") as server, ThreadPoolExecutor(CROWD) as pool:
        for number in range(1, installation.settings.web_workers + 1):
            server.wait_for(f"Started worker-{number}")
        eventually(installation.answers, lambda: server.text)
        slow = [SlowSender(installation, provider, f"slow-{n}", usage) for n in range(SLOW)]
        start = threading.Barrier(CROWD)

        def send(number: int) -> int:
            start.wait()
            body = {**usage.__dict__, "idempotency_key": f"crowd-{number}"}
            return installation.ask(
                "POST", "/api/v1/usage/", key=provider.key, body=body, timeout=60
            ).status

        with slow_readers(installation, content):
            assert list(pool.map(send, range(CROWD))) == [201] * CROWD
        lost = slow.pop()
        lost.vanish()
        assert [sender.finish() for sender in slow] == [201] * (SLOW - 1)
        assert installation.ask("GET", "/api/v1/me", key=provider.key).status == 200
        assert "Traceback" not in server.text
    keys = [f"crowd-{n}" for n in range(CROWD)] + [f"slow-{n}" for n in range(SLOW - 1)]
    assert_books_agree(installation, dict.fromkeys(keys, usage), recorded_by_id=provider.id)
