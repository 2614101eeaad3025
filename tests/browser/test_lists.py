"""Find one's way through long lists: search, filters, ranges, pages; first without JavaScript."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Open, Visit


@pytest.fixture
def plain(visit: Open) -> Visit:
    """A manager's tab without JavaScript."""
    tab = visit(java_script_enabled=False)
    tab.sign_in("manager")
    return tab


def test_it_searches_sorts_and_pages_customers_without_javascript(plain: Visit) -> None:
    # One more than the 25 of the demo, which fill a page.
    plain.site.billtrack("create-user", "--role", "customer", "--email", "more@lists.example")
    page = plain.page
    names = page.locator("tbody tr th a")
    plain.go("/customers")
    first = names.first.inner_text()
    plain.follow(page.get_by_role("link", name="Customer", exact=True))
    expect(page.get_by_role("columnheader", name="Customer")).to_have_attribute(
        "aria-sort", "descending"
    )
    expect(names.first).not_to_have_text(first)
    shown = names.all_inner_texts()
    plain.follow(page.get_by_role("link", name="Next"))
    expect(page.get_by_role("link", name="Previous")).to_be_visible()
    assert not set(shown) & set(names.all_inner_texts())
    page.get_by_label("Search by name or e-mail").fill("hexa")
    plain.follow(page.get_by_role("button", name="Search"))
    expect(names).to_have_text(["Hexa Robotics"])
    expect(page.get_by_label("Search by name or e-mail")).to_have_value("hexa")


def test_it_filters_and_pages_usage_without_javascript(plain: Visit) -> None:
    page = plain.page
    rows = page.locator(".table-records tbody tr")
    plain.go("/usage")
    page.get_by_role("region", name="Filter").get_by_label("Event").select_option("cpu_time")
    plain.follow(page.get_by_role("button", name="Filter"))
    expect(rows.first).to_contain_text("CPU time")
    assert set(page.locator(".event-cell").all_inner_texts()) == {"CPU time"}
    newest = rows.first.inner_text()
    plain.follow(page.get_by_role("link", name="Older"))
    expect(rows.first).not_to_have_text(newest)
    assert set(page.locator(".event-cell").all_inner_texts()) == {"CPU time"}
    plain.follow(page.get_by_role("link", name="Newest"))
    expect(rows.first).to_contain_text("CPU time")
    plain.follow(page.get_by_role("link", name="Clear"))
    expect(page).to_have_url(f"{plain.site.url}/usage")


def test_it_keeps_a_wrong_range_and_says_why_without_javascript(plain: Visit) -> None:
    page = plain.page
    plain.go("/usage")
    filters = page.get_by_role("region", name="Filter")
    filters.get_by_label("From", exact=True).fill("2026-11-02")
    filters.get_by_label("To", exact=True).fill("2026-11-01")
    plain.follow(page.get_by_role("button", name="Filter"))
    last = filters.get_by_label("To", exact=True)
    expect(last).to_have_value("2026-11-01")
    expect(last).to_have_accessible_description("Choose a day that is not before the first.")


def test_it_shows_any_days_of_a_customer_without_javascript(plain: Visit) -> None:
    page = plain.page
    plain.go("/customers/5")
    page.get_by_text("Custom", exact=True).click()
    page.get_by_label("From", exact=True).fill("2026-10-01")
    page.get_by_label("To", exact=True).fill("2026-10-15")
    plain.follow(page.get_by_role("button", name="Show", exact=True))
    expect(page.locator(".range-said")).to_contain_text("1–15 Oct 2026")
    plain.follow(page.get_by_role("link", name="API calls"))
    expect(page.locator(".range-said")).to_contain_text("1–15 Oct 2026")
    expect(page.get_by_role("link", name="API calls")).to_have_attribute("aria-current", "true")


def test_it_searches_as_one_types_and_keeps_the_address(visit: Open) -> None:
    tab = visit()
    tab.sign_in("admin")
    tab.go("/customers?sort=created_at&dir=desc")
    tab.page.evaluate("window.notReloaded = true")
    tab.page.get_by_label("Search by name or e-mail").press_sequentially("hexa")
    expect(tab.page.locator("#customer-list tbody tr")).to_have_count(1)
    expect(tab.page).to_have_url(
        re.compile(r"q=hexa&role=customer&state=&sort=created_at&dir=desc$")
    )
    expect(tab.page.get_by_label("Search by name or e-mail")).to_be_focused()
    assert tab.page.evaluate("window.notReloaded") is True
    tab.page.reload()
    expect(tab.page.locator("#customer-list tbody tr")).to_have_count(1)
    tab.page.get_by_label("Search by name or e-mail").fill("nobody at all")
    expect(tab.page.get_by_text("Nobody matches “nobody at all”")).to_be_visible()
