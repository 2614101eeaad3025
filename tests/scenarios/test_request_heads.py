"""Headers that cannot be read are refused on every route of a real server, before anything runs."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from billtrack.accounts.users.permissions import Role
from billtrack.entrypoints.app import create_app
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.usage.records.models import UsageRecord
from tests.cast import create_user
from tests.scenarios.accounts import Account, create_account
from tests.scenarios.harness import Browser, Installation, eventually

PASSWORD = "correct-horse-battery-9"
RECORD = {"quantity": 7, "event": "api_calls"}
SINGLE = ("Idempotency-Key", "Authorization", "Content-Type")
Pairs = Sequence[tuple[str, bytes]]


@dataclass(frozen=True)
class Site:
    """A running web server, a key that may record, and a customer."""

    installation: Installation
    provider: Account
    customer: Account

    def send(
        self, method: str, path: str, headers: Pairs, body: bytes = b""
    ) -> tuple[int, dict[str, Any]]:
        """Send the bytes of the headers as they are; return the status and the JSON answer."""
        lines = [(name.encode() + b": " + value) for name, value in headers]
        head = [f"{method} {path} HTTP/1.1".encode(), b"Host: localhost", b"Connection: close"]
        if body:
            head.append(f"Content-Length: {len(body)}".encode())
        address = ("127.0.0.1", self.installation.port)
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(b"\r\n".join([*head, *lines, b"", b""]) + body)
            with connection.makefile("rb") as file:
                told, _, content = file.read().partition(b"\r\n\r\n")
        is_json = content.startswith(b"{")
        return int(told.split()[1]), json.loads(content) if is_json else {}

    def record(self, *headers: tuple[str, bytes], path: str = "/api/v1/usage/") -> Any:
        plain = [
            ("Authorization", f"Bearer {self.provider.key}".encode()),
            ("Content-Type", b"application/json"),
        ]
        body = json.dumps({**RECORD, "user_id": self.customer.id}).encode()
        return self.send("POST", path, [*plain, *headers], body)

    def count(self, model: type[UsageRecord | Job]) -> int:
        with self.installation.inside():
            return db.session.scalar(select(func.count()).select_from(model)) or 0


@contextmanager
def served(installation: Installation) -> Iterator[Site]:
    site = Site(
        installation,
        create_account(installation, Role.PROVIDER, "heads@test.example"),
        create_account(installation, Role.CUSTOMER, "heads-customer@test.example"),
    )
    with installation.start("serve") as server:
        eventually(installation.answers, lambda: server.text)
        yield site


def routes(installation: Installation) -> list[tuple[str, str]]:
    """Return method and an address of every route but static files, from the url map."""
    app = create_app(installation.settings)
    with app.test_request_context():
        return [
            (method, app.url_map.bind("localhost").build(rule.endpoint, values_of(rule), method))
            for rule in app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
            if rule.endpoint != "static"
        ]


def values_of(rule: Any) -> dict[str, Any]:
    return {
        name: next(iter(getattr(converter, "items", ["1"])))
        for name, converter in rule._converters.items()
    }


def test_every_route_refuses_headers_that_are_no_ascii_or_came_twice(
    installation: Installation,
) -> None:
    with served(installation) as site:
        key = ("Authorization", f"Bearer {site.provider.key}".encode())
        tried = routes(installation)
        assert len(tried) > 90
        for method, path in tried:
            for name, value in (("Idempotency-Key", "café-1".encode()), ("X-Any", b"\xff")):
                status, told = site.send(method, path, [key, (name, value)])
                assert (status, told["code"]) == (400, "invalid_header"), (method, path)
                assert told["errors"][0]["field"] == name
            for name in SINGLE:
                status, told = site.send(method, path, [key, (name, b"a"), (name, b"a")])
                assert (status, told["code"]) == (400, "invalid_header"), (method, path, name)
                assert told["errors"][0]["field"] == name
        assert (site.count(UsageRecord), site.count(Job)) == (0, 0)


def test_a_key_beyond_ascii_is_refused_and_never_dropped(installation: Installation) -> None:
    beyond = [b"caf\xc3\xa9", b"caf\xe9", b"\xc2\xa0", "キー".encode(), b"a\xffb"]
    with served(installation) as site:
        for value in [*beyond, *beyond]:  # a client that tries again
            status, told = site.record(("Idempotency-Key", value))
            assert (status, told["errors"][0]["field"]) == (400, "Idempotency-Key")
            for twice in ((b"plain", value), (value, b"plain"), (b"plain", b"plain")):
                status, told = site.record(*(("Idempotency-Key", one) for one in twice))
                assert (status, told["code"]) == (400, "invalid_header")
        assert site.count(UsageRecord) == 0
        assert site.record(("Idempotency-Key", b"plain"))[0] == 201
        assert site.record(("Idempotency-Key", b"plain"))[0] == 200
        assert site.count(UsageRecord) == 1


def test_the_fast_path_refuses_other_headers_beyond_ascii_too(installation: Installation) -> None:
    with served(installation) as site:
        assert site.record()[0] == 201
        assert site.record(("X-Gateway", "Zürich".encode()))[0] == 400
        for name in ("User-Agent", "Referer", "Cookie"):
            assert site.record((name, "a=Zürich".encode()))[0] == 201
        assert site.count(UsageRecord) == 4


def test_cookies_of_other_programs_sign_nobody_out(installation: Installation) -> None:
    foreign = [
        "city=Zürich".encode(),
        b"city=Z\xfcrich",
        b'a="\xff;"',
        b"\xff",
        b"=\xe9;;=",
        b"\xf0=",
    ]
    with installation.inside():
        create_user(role=Role.MANAGER, email="cookies@test.example", password=PASSWORD)
    with served(installation) as site:
        browser = Browser(installation)
        assert browser.sign_in("cookies@test.example", PASSWORD).status == 303
        ours = browser.cookies.encode()
        for other in foreign:
            for cookie in (ours + b"; " + other, other + b"; " + ours):
                assert site.send("GET", "/customers", [("Cookie", cookie)])[0] == 200, cookie
            assert site.send("GET", "/sign-in", [("Cookie", other)])[0] == 200
