"""Every page in light and dark, on a phone and a large screen, by keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open, Visit

WIDTHS = {360: 740, 1440: 900}
SCHEMES = ("light", "dark")
PAGES = {
    "admin": (
        "/",
        "/customers",
        "/customers?q=nobody",
        "/customers/5",
        "/customers/10",
        "/usage",
        "/usage?user_id=x&from=2026-11-02&to=2026-11-01",
        "/reports",
        "/reports/jobs/1",
        "/docs/api",
        "/settings/profile",
        "/settings/sessions",
        "/settings/api-keys",
        "/settings/api-keys/new",
        "/settings/health",
    ),
    "manager": ("/", "/customers", "/customers/4", "/usage", "/reports", "/docs/api"),
    "provider": ("/", "/usage", "/docs/api", "/settings/profile"),
    "customer": ("/", "/usage", "/reports", "/docs/api", "/settings/api-keys"),
    "nobody": ("/sign-in",),
}

PROBES = (Path(__file__).parent / "probes.js").read_text(encoding="utf-8").strip()


def probe(page: Page, name: str) -> Any:
    """Ask the page for what this function of probes.js finds."""
    return page.evaluate(f"() => {PROBES[PROBES.index('({') :]}.{name}()")


@pytest.mark.parametrize("role", PAGES)
def test_every_page_fits_and_can_be_read(visit: Open, role: str) -> None:
    tab = visit()
    if role != "nobody":
        tab.sign_in(role)
    if role == "admin":
        ask_for_a_report(tab)
    found = []
    for path in PAGES[role]:
        tab.go(path)
        expect(tab.page.locator("h1")).to_have_count(1)
        for width, height in WIDTHS.items():
            tab.page.set_viewport_size({"width": width, "height": height})
            for scheme in SCHEMES:
                tab.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
                where = f"{path} {width} {scheme}"
                found += [f"{where} too wide: {name}" for name in probe(tab.page, "tooWide")]
                found += [f"{where} too faint: {text}" for text in probe(tab.page, "tooFaint")]
    assert found == []


def ask_for_a_report(tab: Visit) -> None:
    tab.go("/reports")
    tab.page.get_by_role("button", name="Generate report").click()
    expect(tab.page.locator(".job").first).to_be_visible()


def test_an_unknown_page_looks_like_ours(visit: Open) -> None:
    tab = visit(viewport={"width": 360, "height": 740}, color_scheme="dark")
    tab.go("/no/such/page")
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("Not Found")
    assert probe(tab.page, "tooWide") == probe(tab.page, "tooFaint") == []
    tab.forgive(404)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_keyboard_reaches_everything_and_shows_where_it_is(visit: Open, width: int) -> None:
    tab = visit(viewport={"width": width, "height": WIDTHS[width]})
    page = tab.page
    for path in ("/sign-in", "/", "/usage", "/reports", "/customers/5"):
        if path == "/":
            tab.sign_in("manager")
        tab.go(path)
        page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the content")
        expect(skip).to_be_focused()
        expect(skip).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        assert_focus_is_shown_all_the_way(page, path)


def assert_focus_is_shown_all_the_way(page: Page, path: str) -> None:
    seen: set[int] = set()
    for _ in range(400):
        page.keyboard.press("Tab")
        focus = probe(page, "focus")
        if focus["isPage"]:
            break
        seen.add(focus["index"])
        assert focus["isSeen"], f"{path}: {focus['name']} is not there to see"
        shown = focus["hasRing"] or focus["isPartOfField"]
        assert shown, f"{path}: no ring around {focus['name']}"
    else:
        pytest.fail(f"{path}: the focus never leaves the page")
    all_there = page.locator("main :is(a[href], button, input:not([type=hidden]), select)")
    assert len(seen) >= all_there.filter(visible=True).count()
