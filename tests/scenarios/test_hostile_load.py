"""A crowd without credentials sends the worst it can: others are served, and memory stays."""

from __future__ import annotations

import gzip
import http.client
import itertools
import json
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlencode

from billtrack.accounts.credentials.key_format import API_KEY, new_secret
from billtrack.accounts.users.permissions import Role
from tests.cast import create_user
from tests.scenarios.accounts import Account, create_account
from tests.scenarios.books import Usage, assert_books_agree
from tests.scenarios.harness import Browser, Installation, descendants, eventually, memory_of

PASSWORD = "correct-horse-battery-9"
SECONDS = 20.0
CROWD = 50
MOST_MIB = 150

NAMES = ",".join(f'"x{number}":1' for number in range(1_200_000)).encode()
SMALL_NAMES = b"{" + NAMES[: 60 * 1024].rpartition(b",")[0] + b"}"
MANY_NAMES = b"{" + NAMES + b"}"
BOMB = gzip.compress(MANY_NAMES + bytes(48 * 1024 * 1024))[: 16 * 1024 * 1024]
LARGEST = 16 * 1024 * 1024 - 1
JSON = {"Content-Type": "application/json"}


@dataclass
class Crowd:
    """Clients that know no credential, until `ends_at`."""

    port: int
    ends_at: float
    statuses: Counter[int] = field(default_factory=Counter)
    random: random.Random = field(default_factory=lambda: random.Random(12))

    def attack(self, number: int) -> None:
        """Go on until the end with one of the ways, each client with another one."""
        ways = [
            self._names, self._many_names, self._bomb, self._largest, self._largest_with_a_key,
            self._endless_chunks, self._slowly, self._wrong_password, self._wrong_form, self._heads,
        ]  # fmt: skip
        way: Callable[[], int | None] = ways[number % len(ways)]
        while time.monotonic() < self.ends_at:
            with suppress(OSError, http.client.HTTPException):
                self.statuses[way() or 0] += 1

    def _names(self) -> int:
        return self._post("/api/v1/auth/token", SMALL_NAMES, JSON)

    def _many_names(self) -> int:
        return self._post("/api/v1/auth/token", MANY_NAMES, JSON)

    def _bomb(self) -> int:
        return self._post("/api/v1/auth/token", BOMB[:60_000], {**JSON, "Content-Encoding": "gzip"})

    def _largest(self) -> int:
        return self._post("/api/v1/usage/batch", bytes(LARGEST), JSON)

    def _largest_with_a_key(self) -> int:
        key = {"Authorization": f"Bearer {new_secret(API_KEY)}"}
        return self._post("/api/v1/usage/batch", bytes(LARGEST), {**JSON, **key})

    def _endless_chunks(self) -> int:
        def pieces() -> Iterator[bytes]:
            while time.monotonic() < self.ends_at:
                yield b"[" * 65536

        path = self.random.choice(
            ["/api/v1/auth/token", "/sign-in", "/api/v1/usage/reconciliation"]
        )
        return self._post(path, pieces(), JSON)

    def _slowly(self) -> int | None:
        head = f"POST /sign-in HTTP/1.1\r\nHost: localhost\r\nContent-Length: {60_000}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(head.encode())
            while time.monotonic() < self.ends_at:
                connection.sendall(b"a")
                time.sleep(0.2)
        return None

    def _wrong_password(self) -> int:
        body = {"email": self._address(), "password": f"wrong {self.random.random()}"}
        return self._post("/api/v1/auth/token", json.dumps(body).encode(), JSON)

    def _wrong_form(self) -> int:
        form = urlencode({"email": self._address(), "password": "a" * 60_000, "csrf_token": "x"})
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._post("/sign-in", form.encode(), kind)

    def _heads(self) -> int:
        return self._post("/api/v1/reports", b"{}", {"Authorization": "Bearer " + "x" * 30_000})

    def _address(self) -> str:
        return f"nobody{self.random.randrange(10**9)}@test.example"

    def _post(self, path: str, body: bytes | Iterator[bytes], headers: dict[str, str]) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("POST", path, body, headers)
            with connection.getresponse() as answer:
                return answer.status
        finally:
            connection.close()


@contextmanager
def hostile(port: int) -> Iterator[Crowd]:
    crowd = Crowd(port, time.monotonic() + SECONDS)
    threads = [threading.Thread(target=crowd.attack, args=(n,), daemon=True) for n in range(CROWD)]
    for thread in threads:
        thread.start()
    yield crowd
    for thread in threads:
        thread.join(SECONDS)


def test_a_hostile_crowd_stops_nobody_and_takes_no_memory(installation: Installation) -> None:
    provider = create_account(installation, Role.PROVIDER, "load@test.example")
    customer = create_account(installation, Role.CUSTOMER, "load-customer@test.example")
    with installation.inside():
        create_user(role=Role.MANAGER, email="watching@test.example", password=PASSWORD)
    usage = Usage(customer.id, "cpu_time", 3)
    with installation.start("serve") as server:
        eventually(installation.answers, lambda: server.text)
        browser = Browser(installation)
        assert browser.sign_in("watching@test.example", PASSWORD).status == 303
        keys = (f"under-load-{number}" for number in itertools.count())
        # Each process has seen the key, and has loaded what it needs.
        stored = [record(installation, provider, usage, next(keys)) for _ in range(20)]
        assert [browser.get("/").status for _ in range(10)] == [200] * 10
        processes = [server.pid, *descendants(server.pid)]
        before = most = memory_of(processes)
        pages = 0
        with hostile(installation.port) as crowd:
            while time.monotonic() < crowd.ends_at or pages < 2:
                stored.append(record(installation, provider, usage, next(keys)))
                # A server that is held up never answers, and the harness gives up.
                assert browser.get("/customers").status == 200
                pages += 1
                most = list(map(max, most, memory_of(processes)))
        assert sum(crowd.statuses.values()) > CROWD
        assert set(crowd.statuses) <= {0, 400, 401, 408, 411, 413, 422, 429, 503}, crowd.statuses
        grown = [after - first for first, after in zip(before, most, strict=True)]
        assert max(grown) < MOST_MIB, (before, most)
        eventually(installation.answers, lambda: server.text)
        assert "Traceback" not in server.text
    assert_books_agree(installation, dict.fromkeys(stored, usage), recorded_by_id=provider.id)
    print(f"grown by {grown} MiB, {len(stored)} records, {pages} pages, {crowd.statuses}")


def record(installation: Installation, provider: Account, usage: Usage, key: str) -> str:
    """Store a record and return its key."""
    body = {**usage.__dict__, "idempotency_key": key}
    answer = installation.ask("POST", "/api/v1/usage/", key=provider.key, body=body)
    assert answer.status == 201, answer.text
    return key
