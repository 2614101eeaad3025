"""From a password alone to password and code, as a person goes, and every page on the way."""

from __future__ import annotations

from dataclasses import replace

from playwright.sync_api import expect

from billtrack.accounts.users.permissions import Role
from tests.accounts.sign_in.telephone import Telephone
from tests.browser.conftest import Open, Visit
from tests.browser.looks import find_faults
from tests.browser.sites import Workshop
from tests.cast import PASSWORD, create_user

EMAIL, ADMIN = "mary@new.example", "root@new.example"


def press(tab: Visit, name: str, status: int = 200) -> None:
    tab.follow(tab.page.get_by_role("button", name=name), status=status)


def open_link(tab: Visit, name: str) -> None:
    tab.follow(tab.page.get_by_role("link", name=name, exact=True))


def set_up(tab: Visit) -> tuple[list[str], list[str]]:
    """Set a second factor up; return the recovery codes, and what is wrong with the pages."""
    page = tab.page
    tab.go("/settings/profile")
    open_link(tab, "Set up")
    press(tab, "Set up", 422)
    found = find_faults(page, "refused password")
    page.get_by_label("Current password").fill(PASSWORD)
    press(tab, "Set up")
    drawing = page.get_by_role("img")
    assert drawing.evaluate("(image) => image.complete && image.naturalWidth") > 100
    secret = page.locator("code.secret").inner_text().replace(" ", "")
    press(tab, "Switch on", 422)
    found += find_faults(page, "refused code")
    page.get_by_label("Code").fill(Telephone(secret).code())
    press(tab, "Switch on")
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
    found += find_faults(page, "recovery codes")
    codes = page.get_by_role("listitem").locator("code").all_inner_texts()
    open_link(tab, "I have kept them")
    return codes, found


def change(tab: Visit) -> list[str]:
    """Look at the page of a factor that is on; return what is wrong with it."""
    open_link(tab, "Change")
    press(tab, "Make new recovery codes", 422)
    return find_faults(tab.page, "refused change")


def sign_in_by_recovery_code(tab: Visit, code: str) -> list[str]:
    page = tab.page
    tab.go("/sign-in?next=/settings/profile")
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    press(tab, "Sign in")
    expect(page.get_by_label("Code")).to_be_visible()
    press(tab, "Sign in", 422)
    found = find_faults(page, "no code")
    open_link(tab, "Use a recovery code.")
    page.get_by_label("Code").fill(code)
    found += find_faults(page, "recovery code")
    press(tab, "Sign in")
    expect(page.get_by_text("Signing in takes a code.")).to_be_visible()
    return found


def reset(tab: Visit) -> None:
    press(tab, "Reset two-factor authentication")
    expect(tab.page.get_by_role("status")).to_contain_text("Two-factor authentication is reset.")


def test_a_second_factor_is_set_up_used_and_reset(workshop: Workshop, open_at: Open) -> None:
    with workshop.app.app_context():
        user_id = create_user(role=Role.MANAGER, email=EMAIL, password=PASSWORD).id
        create_user(role=Role.ADMIN, email=ADMIN, password=PASSWORD)
    site = replace(workshop, passwords={"manager": (EMAIL, PASSWORD), "admin": (ADMIN, PASSWORD)})
    owner, elsewhere, admin = open_at(site), open_at(site), open_at(site)
    owner.sign_in("manager")
    codes, found = set_up(owner)
    found += change(owner)
    found += sign_in_by_recovery_code(elsewhere, codes[0])
    admin.sign_in("admin")
    admin.go(f"/settings/accounts/{user_id}")
    found += find_faults(admin.page, "account with a second factor")
    reset(admin)
    assert found == [], "\n".join(found)
