"""A real browser before real installations, all on 127.0.0.1."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Locator,
    Page,
    Request,
    Response,
    expect,
    sync_playwright,
)

from tests.browser.sites import Site, Workshop, run_demo, run_workshop

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
PATIENCE = 60_000
"""Milliseconds that a busy machine may take for one step."""

expect.set_options(timeout=PATIENCE)


@dataclass
class Visit:
    """A tab, and everything that went wrong in it."""

    page: Page
    site: Site
    complaints: list[str] = field(default_factory=list)
    foreseen: list[tuple[int, str]] = field(default_factory=list)

    def go(self, path: str) -> None:
        self.page.goto(self.site.url + path)

    @contextmanager
    def load(self, status: int = 200) -> Iterator[None]:
        """Wait for the page that this brings, until it stands still; refuse another status.

        Without it a test can look at the page before, or point at what is about to move.
        """
        with self.page.expect_navigation() as waited:
            yield
        answer = waited.value
        if status >= 400:  # nothing to complain about
            self.foreseen.append((status, answer.url))
        assert answer.status == status, f"{answer.status} {answer.url}"

    def follow(self, target: Locator, *, status: int = 200) -> None:
        """Click what leads to another page, and wait for that page."""
        with self.load(status):
            target.click()

    def sign_in(self, role: str) -> None:
        """Sign in through the page, as a person would."""
        email, password = self.site.passwords[role]
        self.go("/sign-in")
        self.page.get_by_label("E-mail").fill(email)
        self.page.get_by_label("Password").fill(password)
        self.follow(self.page.get_by_role("button", name="Sign in"))

    def unforeseen(self) -> list[str]:
        """Return the complaints about anything but the answers that were foreseen."""
        return [
            said
            for said in self.complaints
            if not any(_tells_of(said, status, url) for status, url in self.foreseen)
        ]


Open = Callable[..., Visit]


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """`billtrack up` with demo data and a worker."""
    with run_demo(tmp_path_factory.mktemp("browser")) as site:
        yield site


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """An installation as it is before its first account."""
    with run_workshop(tmp_path_factory.mktemp("workshop")) as workshop:
        yield workshop


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
def open_at(chromium: Browser) -> Iterator[Open]:
    """Open tabs before a site, each with cookies of its own; fail if one had to complain."""
    opened: list[tuple[BrowserContext, Visit]] = []

    def open_tab(site: Site, **options: object) -> Visit:
        context = chromium.new_context(reduced_motion="reduce", **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        visit = Visit(context.new_page(), site)
        _listen(visit)
        opened.append((context, visit))
        return visit

    yield open_tab
    for context, _ in opened:
        context.close()
    assert [said for _, visit in opened for said in visit.unforeseen()] == []


@pytest.fixture
def visit(open_at: Open, site: Site) -> Open:
    """Open tabs before the installation with demo data."""

    def open_tab(**options: object) -> Visit:
        return open_at(site, **options)

    return open_tab


def _listen(visit: Visit) -> None:
    def answered(response: Response) -> None:
        if response.status >= 400:
            visit.complaints.append(f"{response.status} {response.url}")

    def asked(request: Request) -> None:
        if not request.url.startswith((visit.site.url, "data:")):
            visit.complaints.append(f"asked for {request.url}")

    def told(said: ConsoleMessage) -> None:
        # The Content-Security-Policy complains here, too.
        if said.type in {"error", "warning"}:
            visit.complaints.append(f"{said.type}: {said.text} at {said.location['url']}")

    visit.page.on("response", answered)
    visit.page.on("request", asked)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on("console", told)


def _tells_of(said: str, status: int, url: str) -> bool:
    # The browser tells of an answer twice: as a response and, some time later, on the console.
    is_console = f"status of {status} " in said and said.partition("#")[0].endswith(f" at {url}")
    return is_console or said == f"{status} {url}"
