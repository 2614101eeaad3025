"""From a forgotten password to a new one, as a person goes, and every page on the way."""

from __future__ import annotations

from dataclasses import replace

from playwright.sync_api import expect

from billtrack.accounts.users.permissions import Role
from tests.browser.conftest import Open
from tests.browser.looks import find_faults
from tests.browser.sites import Workshop
from tests.cast import PASSWORD, create_user
from tests.notifications.mail.mailbox import deliver, link_in

EMAIL, NEW = "grace@new.example", "another horse, another battery"


def test_a_forgotten_password_is_replaced(workshop: Workshop, open_at: Open) -> None:
    with workshop.app.app_context():
        create_user(role=Role.MANAGER, email=EMAIL, password=PASSWORD)
    tab = open_at(replace(workshop, passwords={"manager": (EMAIL, NEW)}))
    page = tab.page
    tab.go("/sign-in")
    tab.follow(page.get_by_role("link", name="Forgot your password?"))
    found = find_faults(page, "/forgot-password")
    page.get_by_label("E-mail").fill(EMAIL)
    tab.follow(page.get_by_role("button", name="Send me a link"))
    expect(page.get_by_role("heading", level=1)).to_have_text("Check your e-mail")
    found += find_faults(page, "letter sent")
    link = link_in(deliver(workshop.app)[-1])
    tab.go(link)
    tab.follow(page.get_by_role("button", name="Set password"), status=422)
    found += find_faults(page, "refused password")
    page.get_by_label("New password", exact=True).fill(NEW)
    page.get_by_label("New password again").fill(NEW)
    tab.follow(page.get_by_role("button", name="Set password"))
    expect(page.get_by_role("status")).to_have_text("Your password is set. Sign in with it.")
    tab.sign_in("manager")
    with tab.load(404):
        tab.go(link)
    found += find_faults(page, "used link")
    assert found == [], "\n".join(found)
