"""The keyboard reaches everything and shows where it is."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.looks import PROBES, WIDTHS


@pytest.mark.parametrize("width", WIDTHS)
def test_it_reaches_everything_and_shows_where_it_is(visit: Open, width: int) -> None:
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
    page.evaluate(PROBES)
    seen: set[int] = set()
    for _ in range(400):
        page.keyboard.press("Tab")
        focus: dict[str, Any] = page.evaluate("probes.focus()")
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


@pytest.mark.parametrize("script", [True, False], ids=["javascript", "plain"])
def test_a_phone_reaches_the_whole_navigation(visit: Open, *, script: bool) -> None:
    tab = visit(viewport={"width": 360, "height": 740}, java_script_enabled=script)
    tab.sign_in("manager")
    tab.go("/settings/profile")
    here = tab.page.get_by_role("link", name="Settings").first
    if not script:
        here.focus()  # what takes the focus comes into view by itself
    expect(here).to_be_in_viewport(ratio=1)
    assert tab.page.evaluate("scrollY") == 0


def test_a_slash_leads_to_the_search_unless_one_is_typing(visit: Open) -> None:
    tab = visit()
    tab.sign_in("manager")
    tab.go("/customers?q=kiln")
    search = tab.page.get_by_role("searchbox")
    expect(search).not_to_be_focused()
    tab.page.keyboard.press("/")
    expect(search).to_be_focused()
    tab.page.keyboard.type("a/b")  # in place of what was there: it was selected
    expect(search).to_have_value("a/b")
