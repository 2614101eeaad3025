"""Every page fits and can be read by everybody, light and dark, on small and large screens."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import pytest
from playwright.sync_api import FilePayload, expect

from billtrack.accounts.users.permissions import Role
from tests.browser.conftest import Open, Visit
from tests.browser.looks import find_faults
from tests.browser.pages import ERRORS, PAGES

SILENT = "10"
"""A customer of the demo that has used nothing."""

ALIKE = {"/docs/api": (".api-columns",)}
"""What is long and the same for every role: looked at as an administrator."""


@pytest.mark.parametrize("role", Role)
def test_every_page_fits_and_can_be_read(visit: Open, role: Role) -> None:
    tab = visit()
    tab.sign_in(role)
    names, found = make_names(tab, role)
    for path in PAGES[role]:
        tab.go(path.format_map(names))
        seen = ALIKE.get(path, ()) if role is not Role.ADMIN else ()
        found += find_faults(tab.page, path, leave_out=seen)
    assert found == [], "\n".join(found)


def make_names(tab: Visit, role: Role) -> tuple[dict[str, str], list[str]]:
    """Make what the paths name, and look at the page that shows a new key."""
    today = datetime.now(UTC).date()
    last_month = f"{today.replace(day=1) - timedelta(days=1):%Y-%m}"
    names = {
        "customer": "5",
        "silent": SILENT,
        "source": "3",
        "refused": "1",
        "keyless": "6",
        "today": str(today),
        "last_month": last_month,
        "long_ago": str(today - timedelta(days=100)),
    }
    if role is Role.CUSTOMER:
        names["customer"] = tab.page.url.rpartition("/")[2]
    if role is not Role.PROVIDER:
        names["job"] = ask_for_a_report(tab)
    if role is not Role.CUSTOMER:
        names["import"] = import_a_file(tab)
    names["key"], found = make_a_key(tab)
    if role is Role.PROVIDER:
        found += compare_totals(tab, today)
    return names, found


def ask_for_a_report(tab: Visit) -> str:
    """Return the number of the job."""
    tab.go("/reports")
    tab.follow(tab.page.get_by_role("button", name="Generate report"))
    identifier = tab.page.locator(".job").first.get_attribute("id")
    assert identifier is not None
    return identifier.removeprefix("job-")


def import_a_file(tab: Visit) -> str:
    """Return the number of an import that has refused lines."""
    tab.go("/usage/imports")
    text = "user_id,event,quantity,occurred_at\n" + "5,api_calls,many,2026-01-01T00:00:00Z\n" * 40
    file: FilePayload = {"name": "usage.csv", "mimeType": "text/csv", "buffer": text.encode()}
    tab.page.get_by_label("CSV file").set_input_files(file)
    tab.follow(tab.page.get_by_role("button", name="Import"))
    expect(tab.page.get_by_text("40 lines read")).to_be_visible()
    return tab.page.url.rpartition("/")[2]


def compare_totals(tab: Visit, today: date) -> list[str]:
    """Return what is wrong with the page that shows differences, and with a refused one."""
    tab.go("/usage/reconciliation")
    tab.follow(tab.page.get_by_role("button", name="Compare"), status=422)
    found = find_faults(tab.page, "refused totals")
    lines = [f"5,{today - timedelta(days=ago)},api_calls,1200000" for ago in range(1, 9)]
    text = "\n".join(["user_id,day,event,quantity", *lines])
    tab.page.get_by_label("Totals", exact=True).fill(text)
    tab.follow(tab.page.get_by_role("button", name="Compare"))
    expect(tab.page.get_by_text("Surplus").first).to_be_visible()
    return found + find_faults(tab.page, "differences")


def make_a_key(tab: Visit) -> tuple[str, list[str]]:
    """Return the number of the key, and what is wrong with the page that shows it once."""
    page = tab.page
    tab.go("/settings/api-keys/new")
    tab.follow(page.get_by_role("button", name="Create key"), status=422)
    found = find_faults(page, "refused key")
    page.get_by_label("Name").fill("nightly export")
    page.get_by_role("checkbox").first.check()
    tab.follow(page.get_by_role("button", name="Create key"))
    expect(page.get_by_role("heading", level=1)).to_have_text("API key created")
    found += find_faults(page, "new key")
    tab.follow(page.get_by_role("link", name="Done"))
    address = page.get_by_role("link", name="Revoke nightly export").get_attribute("href")
    asked = re.search(r"/(\d+)/revoke", address or "")
    assert asked is not None
    return asked[1], found


def test_a_refused_sign_in_and_errors_can_be_read(visit: Open) -> None:
    tab = visit()
    tab.go("/sign-in")
    found = find_faults(tab.page, "/sign-in")
    tab.page.get_by_label("E-mail").fill("nobody@example.com")
    tab.follow(tab.page.get_by_role("button", name="Sign in"), status=422)
    expect(tab.page.get_by_label("Password")).to_have_accessible_description("Write your password.")
    found += find_faults(tab.page, "refused sign-in")
    tab.sign_in(Role.CUSTOMER)
    for path, status in ERRORS.items():
        with tab.load(status):
            tab.go(path)
        found += find_faults(tab.page, path)
    assert found == [], "\n".join(found)
