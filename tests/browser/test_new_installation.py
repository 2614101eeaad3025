"""The first hour with billtrack: set up, then pages that have nothing to show yet."""

from __future__ import annotations

from dataclasses import replace

import pytest
from playwright.sync_api import expect

from billtrack.accounts.users.permissions import Role
from billtrack.entrypoints.setup.initialise import setup_link
from tests.browser.conftest import Open, Visit
from tests.browser.looks import find_faults
from tests.browser.pages import BUILDERS_PAGES
from tests.browser.sites import Workshop
from tests.cast import PASSWORD, create_user

ADMIN = "ada@new.example"
EMPTY: dict[Role, dict[str, str]] = {
    Role.ADMIN: {
        "/": "No usage in",
        "/customers": "No customers yet",
        "/usage": "No usage yet",
        "/reports": "No reports yet",
        "/settings/api-keys": "No API keys",
        "/settings/health": "No worker has been seen",
    },
    Role.MANAGER: {"/?month=2026-01": "No priced usage in", "/customers?q=x": "Nobody matches"},
    Role.PROVIDER: {"/": "You have recorded nothing yet", "/usage": "No usage yet"},
    Role.CUSTOMER: {
        "/": "Nothing used in this month",
        "/usage?event=cpu_time": "No records match",
        "/reports": "No reports yet",
        "/settings/api-keys?state=ended": "No ended keys",
    },
}
"""What the empty page says first; what to do next is part of the component."""


@pytest.fixture(scope="module")
def new(workshop: Workshop) -> Workshop:
    """Accounts to sign in with; the administrator is made by the first test."""
    passwords = {role.value: (f"{role}@new.example", PASSWORD) for role in Role}
    return replace(workshop, passwords=passwords | {Role.ADMIN.value: (ADMIN, PASSWORD)})


def set_up(tab: Visit, link: str) -> list[str]:
    """Make the administrator with the link of the log; return what is wrong with the page."""
    page = tab.page
    page.goto(link)
    found = find_faults(page, "/set-up")
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill(ADMIN)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password again").fill("another")
    tab.follow(page.get_by_role("button", name="Create administrator"), status=422)
    expect(page.get_by_label("Name")).to_have_value("Ada")
    expect(page.get_by_label("Password again")).to_have_accessible_description(
        "The two passwords differ. Write them again."
    )
    found += find_faults(page, "refused set-up")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password again").fill(PASSWORD)
    tab.follow(page.get_by_role("button", name="Create administrator"))
    expect(page.get_by_role("status")).to_have_text("The administrator is created. Sign in.")
    return found


def test_it_is_set_up_once_and_every_empty_page_says_what_to_do(
    new: Workshop, open_at: Open
) -> None:
    tab = open_at(new)
    with new.app.app_context():
        link = setup_link(new.settings)
    assert link is not None
    found = set_up(tab, link)
    for role, pages in EMPTY.items():
        if role is not Role.ADMIN:
            with new.app.app_context():
                create_user(role=role, email=new.passwords[role][0], password=PASSWORD)
            tab = open_at(new)
        tab.sign_in(role)
        for path, said in pages.items():
            tab.go(path)
            expect(tab.page.locator(".empty-title", has_text=said)).to_be_visible()
            found += find_faults(tab.page, f"empty {path} of {role}")
    for path in BUILDERS_PAGES:
        tab.go(path)
        found += find_faults(tab.page, path)
    assert found == [], "\n".join(found)
