"""A real browser before a real `billtrack up`, with demo data, all on 127.0.0.1."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Response, sync_playwright

from billtrack.process import tied_command
from billtrack.supervisor import PROJECT_DIR

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
START_SECONDS = 60


@dataclass(frozen=True)
class Site:
    """A running installation: where it answers, who may sign in, and its command line."""

    url: str
    environment: dict[str, str]
    passwords: dict[str, tuple[str, str]]

    def billtrack(self, *arguments: str) -> str:
        """Run a command on the same data and return what it prints."""
        command = [sys.executable, "-P", "-m", "billtrack.cli", *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=PROJECT_DIR, check=True, capture_output=True
        )
        return done.stdout.decode()


@dataclass
class Visit:
    """A tab, and everything that went wrong in it."""

    page: Page
    site: Site
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> None:
        self.page.goto(self.site.url + path)

    def forgive(self, status: int) -> None:
        """Strike out what the browser said about the answer that this status was meant for."""
        kept = [text for text in self.complaints if str(status) not in text]
        assert len(kept) < len(self.complaints), f"no answer had the status {status}"
        self.complaints = kept

    def sign_in(self, role: str) -> None:
        """Sign in through the page, as a person would."""
        email, password = self.site.passwords[role]
        self.go("/sign-in")
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password").fill(password)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url(lambda url: "/sign-in" not in url)


Open = Callable[..., Visit]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`billtrack up` on a free port, in a folder of its own, until the worker is ready, too."""
    folder = tmp_path_factory.mktemp("browser")
    port = _free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if "BILLTRACK" not in name},
        "BILLTRACK_DATA_DIR": str(folder),
        "BILLTRACK_PORT": str(port),
        "BILLTRACK_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "BILLTRACK_DEMO": "1",
        "BILLTRACK_WEB_WORKERS": "1",
        "BILLTRACK_WORKERS": "1",
    }
    for name in ("DATABASE_URL", "REDIS_URL"):
        environment.pop(name, None)
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            tied_command([sys.executable, "-P", "-m", "billtrack.cli", "up"]),
            env=environment,
            cwd=PROJECT_DIR,
            stdout=file,
            stderr=file,
        )
    try:
        _wait_until_ready(f"http://127.0.0.1:{port}", process, log)
        yield Site(f"http://127.0.0.1:{port}", environment, _passwords(folder))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=START_SECONDS)


# Playwright keeps an event loop running in this thread: it ends with each module.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        what = "needs a browser: install the Debian package chromium"
        if os.environ.get("BILLTRACK_REQUIRE_SERVICES") == "1":
            pytest.fail(what)
        pytest.skip(what)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Browser, site: Site) -> Iterator[Open]:
    """Open tabs, each with cookies of its own; fail if one of them had to complain."""
    opened: list[tuple[BrowserContext, Visit]] = []

    def open_tab(**options: object) -> Visit:
        context = chromium.new_context(reduced_motion="reduce", **options)  # type: ignore[arg-type]
        context.set_default_timeout(10_000)
        visit = Visit(context.new_page(), site)
        _listen(visit)
        opened.append((context, visit))
        return visit

    yield open_tab
    for context, _ in opened:
        context.close()
    assert [visit.complaints for _, visit in opened if visit.complaints] == []


def _listen(visit: Visit) -> None:
    def answered(response: Response) -> None:
        if response.status >= 400:
            visit.complaints.append(f"{response.status} {response.url}")

    def asked(request: Request) -> None:
        if not request.url.startswith((visit.site.url, "data:")):
            visit.complaints.append(f"asked for {request.url}")

    visit.page.on("response", answered)
    visit.page.on("request", asked)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on(
        "console",
        # The Content-Security-Policy complains here, too.
        lambda said: (
            visit.complaints.append(f"{said.type}: {said.text} at {visit.page.url}")
            if said.type in {"error", "warning"}
            else None
        ),
    )


def _passwords(folder: Path) -> dict[str, tuple[str, str]]:
    accounts = json.loads((folder / "demo-accounts.json").read_text(encoding="utf-8"))
    return {one["role"]: (one["email"], one["password"]) for one in accounts}


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(url):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"billtrack did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.1)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v1/health", timeout=5) as answer:
            checks = json.load(answer)["checks"]
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
    return set(checks.values()) == {"ok"}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
