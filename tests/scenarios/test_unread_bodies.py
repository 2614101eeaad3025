"""A request that its head decides is answered although not one byte of its body came."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import product

from billtrack.accounts.access import PERMISSION_ATTRIBUTE, PUBLIC
from billtrack.accounts.credentials.key_format import API_KEY, new_secret
from billtrack.accounts.users.permissions import Role
from billtrack.entrypoints.app import create_app
from tests.cast import create_user
from tests.scenarios.accounts import create_account
from tests.scenarios.harness import Browser, Installation, eventually

PASSWORD = "correct-horse-battery-9"
SAFE = {"GET", "HEAD", "OPTIONS"}
SMALL, LARGE = 60_000, 16 * 1024 * 1024 - 1
LISTS = ("/api/v1/usage/batch", "/api/v1/usage/reconciliation")
FILES = ("/usage/imports", "/usage/reconciliation")


class Heads:
    """Sends heads that promise a body, and reads the answers."""

    def __init__(self, installation: Installation) -> None:
        self._port = installation.port

    def answer(self, method: str, path: str, length: int | None, **headers: str) -> int:
        """Return the status; the server has to answer and to end the connection."""
        size = f"Content-Length: {length}" if length else "Transfer-Encoding: chunked"
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        host = [] if "Host" in headers else ["Host: localhost"]
        head = "\r\n".join([f"{method} {path} HTTP/1.1", *host, size, *lines, "", ""])
        with socket.create_connection(("127.0.0.1", self._port), timeout=60) as connection:
            connection.sendall(head.encode())
            with connection.makefile("rb") as file:
                status = int(file.readline().split()[1])
                assert http.client.parse_headers(file)["Connection"] == "close"
                file.read()
        return status


@contextmanager
def served(installation: Installation) -> Iterator[Heads]:
    with installation.start("serve") as server:
        eventually(installation.answers, lambda: server.text)
        yield Heads(installation)


def taking_bodies(installation: Installation) -> list[tuple[str, str, bool]]:
    """Return method, an address, and whether it is public, of each route that takes a body."""
    app = create_app(installation.settings)
    url = app.url_map.bind("localhost")
    return [
        (
            method,
            url.build(rule.endpoint, dict.fromkeys(rule.arguments, "1"), method),
            getattr(app.view_functions[rule.endpoint], PERMISSION_ATTRIBUTE) == PUBLIC,
        )
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - SAFE
    ]


def test_nothing_is_read_without_a_credential(installation: Installation) -> None:
    unsigned = {"Cookie": "billtrack_session=eyJzaWQiOiJ4In0.aaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbb"}
    installation.environment["BILLTRACK_RATE_ADDRESS"] = "off"
    with served(installation) as heads:
        routes = taking_bodies(installation)
        assert len(routes) > 60

        def try_route(route: tuple[str, str, bool]) -> None:
            method, path, is_public = route
            refused = 401 if path.startswith("/api/") else 303
            malformed = {"Authorization": "Bearer bt_live_x"} if refused == 401 else unsigned
            for length in () if is_public else (SMALL, None):
                assert heads.answer(method, path, length) == refused, path
                assert heads.answer(method, path, length, **malformed) == refused, path
            assert heads.answer(method, path, SMALL, Host="evil.example") == 400, path
            if path not in (*LISTS, *FILES):
                assert heads.answer(method, path, LARGE) == 413, path

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(try_route, routes))
        assert heads.answer("POST", "/nothing", SMALL) == 404
        assert heads.answer("DELETE", "/api/v1/usage/", SMALL) == 405


def test_a_large_body_is_read_only_if_its_credential_holds(installation: Installation) -> None:
    provider = create_account(installation, Role.PROVIDER, "large@test.example")
    with installation.inside():
        create_user(role=Role.MANAGER, email="files@test.example", password=PASSWORD)
    unknown = f"Bearer {new_secret(API_KEY)}"
    without_checksum = f"Bearer {API_KEY}{'a' * 43}"
    with served(installation) as heads:
        credentials = (unknown, without_checksum, "Bearer aaaa.bbbb.cccc")
        tried = list(product(LISTS, credentials, (LARGE, None)))
        with ThreadPoolExecutor(8) as pool:
            answers = pool.map(
                lambda one: heads.answer("POST", one[0], one[2], Authorization=one[1]), tried
            )
        assert list(answers) == [401] * len(tried)
        browser = Browser(installation)
        assert browser.sign_in("files@test.example", PASSWORD).status == 303
        signed = browser.cookies
        assert browser.submit("/settings/sessions", "/settings/sessions/revoke-all").status == 303
        for path in FILES:
            for length in (LARGE, None):
                assert heads.answer("POST", path, length, Cookie=signed) == 303
        body = b'{"records": []}' + b" " * 100_000
        for credential, status in ((f"Bearer {provider.key}", 422), (unknown, 401)):
            for chunked in (False, True):
                connection = http.client.HTTPConnection("127.0.0.1", installation.port, timeout=60)
                with closing(connection):
                    connection.request(
                        "POST",
                        LISTS[0],
                        iter([body]) if chunked else body,
                        {"Authorization": credential, "Content-Type": "application/json"},
                        encode_chunked=chunked,
                    )
                    with connection.getresponse() as answer:
                        assert answer.status == status


def test_nothing_is_read_from_an_address_that_is_shut_out(installation: Installation) -> None:
    provider = create_account(installation, Role.PROVIDER, "shut@test.example")
    installation.environment["BILLTRACK_RATE_ADDRESS"] = "10/hour"
    installation.environment["BILLTRACK_WEB_WORKERS"] = "1"
    with served(installation) as heads:
        assert installation.ask("GET", "/api/v1/me", key=provider.key).status == 200
        for _ in range(11):
            heads.answer("POST", "/api/v1/users", SMALL)
        unknown = f"Bearer {new_secret(API_KEY)}"
        for path in ("/api/v1/auth/token", "/sign-in", "/forgot-password"):
            assert heads.answer("POST", path, SMALL) == 429, path
        for length in (SMALL, LARGE, None):
            assert heads.answer("POST", LISTS[0], length, Authorization=unknown) == 429
        # Whoever was let in before goes on.
        nothing: dict[str, list[str]] = {"records": []}
        assert installation.ask("POST", LISTS[0], key=provider.key, body=nothing).status == 422
