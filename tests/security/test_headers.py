"""What every answer tells browsers to allow, and to keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from billtrack.entrypoints.app import create_app
from tests.conftest import make_settings

PATHS = ("/sign-in", "/nothing", "/", "/api/v1/users", "/api/v1/health/live", "/docs/api")
EXPECTED = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_they_come_with_every_answer(tmp_path: Path, scheme: str) -> None:
    settings = make_settings(tmp_path, public_url=f"{scheme}://billing.example.com")
    browser = create_app(settings).test_client()
    for path in PATHS:
        headers = browser.get(path).headers
        assert {name: headers.get(name) for name in EXPECTED} == EXPECTED, path
        assert "'unsafe" not in headers["Content-Security-Policy"]
        assert "Permissions-Policy" in headers
        assert ("Strict-Transport-Security" in headers) is (scheme == "https"), path
        assert "Server" not in headers


def test_files_of_the_looks_are_public_and_nothing_else(tmp_path: Path) -> None:
    browser = create_app(make_settings(tmp_path)).test_client()
    headers = browser.get("/static/css/tokens.css", buffered=True).headers
    assert headers["Cache-Control"] == "no-cache"
    assert headers["X-Content-Type-Options"] == "nosniff"


FILES, PLAIN = "multipart/form-data; boundary=x", "application/x-www-form-urlencoded"
PART = b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n%s\r\n'


@pytest.mark.parametrize(
    ("content_type", "data", "status"),
    [
        (FILES, PART % (b"a" * 600_000) + b"--x--", 413),
        (FILES, PART % b"a" * 1_100 + b"--x--", 413),
        (PLAIN, b"a=&" * 200_000, 413),
        (PLAIN, b"a=&" * 100, 400),  # read, and refused for want of a token
    ],
)
def test_a_form_is_neither_huge_nor_of_thousands_of_fields(
    tmp_path: Path, content_type: str, data: bytes, status: int
) -> None:
    browser = create_app(make_settings(tmp_path)).test_client()
    answer = browser.post("/sign-in", data=data, content_type=content_type)
    assert answer.status_code == status
