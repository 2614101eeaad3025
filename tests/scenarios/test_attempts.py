"""Attempts on a running billtrack that must fail, sent as no browser would send them."""

from __future__ import annotations

import secrets
import socket

import pytest

from billtrack.accounts.users.permissions import Role
from billtrack.platform.extensions import current_settings
from tests.scenarios.accounts import Account, create_account
from tests.scenarios.conftest import Site
from tests.scenarios.harness import eventually

CLIMBING = (
    *("../", "..%2f", "%2e%2e/", "%2e%2e%2f", "..%5c", "..%252f", "%252e%252e%252f", "....//"),
    *("..;/", "%c0%ae%c0%ae/", ".%00./", "..\\", "/"),
)
"""Ways to write the folder above, raw and encoded once or twice."""

TARGETS = ("secret_key", "billtrack.db", "etc/passwd", "billtrack/platform/config.py")
TRACES = (b"SQLite format", b"root:x:", b"Typed settings")
"""How the targets begin; and the secret, which is looked for besides."""


@pytest.fixture
def owner(site: Site) -> Account:
    """Somebody who may read reports, with a key."""
    email = f"climber-{secrets.token_hex(4)}@test.example"
    return create_account(site.installation, Role.ADMIN, email)


def send(site: Site, path: str, key: str, host: str = "localhost") -> bytes:
    """Send the request line byte for byte, which HTTP libraries would tidy up first."""
    with socket.create_connection(("127.0.0.1", site.installation.port), timeout=60) as connection:
        head = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def test_no_path_leads_out_of_the_downloads(site: Site, owner: Account) -> None:
    asked = site.installation.ask("POST", f"/api/v1/reports/{owner.id}", key=owner.key)
    job_id = asked.json["jobId"]
    status = f"/api/v1/reports/status/{job_id}"

    def is_done() -> bool:
        return bool(site.installation.ask("GET", status, key=owner.key).json["fileUrl"])

    eventually(is_done, lambda: site.up.text)
    with site.installation.inside():
        settings = current_settings()
    assert settings.secret_key is not None
    secret = settings.secret_key.get_secret_value().encode()
    (site.installation.folder / "secret_key").write_bytes(secret)
    for base in (f"/reports/{job_id}/", "/reports/", "/static/", "/static/css/", "/"):
        for climb in CLIMBING:
            for target in TARGETS:
                path = base + climb * 4 + target
                answer = send(site, path, owner.key)
                assert answer[:12] in {b"HTTP/1.1 404", b"HTTP/1.1 400"}, (path, answer[:300])
                assert not any(trace in answer for trace in (*TRACES, secret)), path
    found = site.installation.ask("GET", status, key=owner.key).json["fileUrl"]
    assert send(site, found, owner.key).startswith(b"HTTP/1.1 200")


def test_a_request_under_a_forged_host_gets_nothing(site: Site, owner: Account) -> None:
    for path in ("/api/v1/usage/1", "/api/v1/users", "/sign-in"):
        assert send(site, path, owner.key, host="evil.example").startswith(b"HTTP/1.1 400")
    absolute = "http://evil.example/api/v1/users"
    answer = send(site, absolute, owner.key, host="evil.example")
    assert answer[:12] in {b"HTTP/1.1 400", b"HTTP/1.1 404"}
    assert b"HTTP/1.1 200" in send(site, "/api/v1/health/live", owner.key, host="10.0.0.9")
