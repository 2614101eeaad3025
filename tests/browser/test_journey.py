"""From signing in to the PDF in hand, with JavaScript and without."""

from __future__ import annotations

import json
import re

import pytest
from playwright.sync_api import Page, expect
from pypdf import PdfReader

from tests.browser.conftest import Open, Visit
from tests.browser.sites import Site

WRONG_QUANTITY = re.compile("^Write a whole number in digits only")


def create_customer(site: Site, name: str) -> int:
    """Create a customer that has used nothing yet."""
    email = f"{name.lower().replace(' ', '.')}@browser.example"
    answer = site.billtrack(
        "create-user", "--role", "customer", "--email", email, "--name", name, "--json"
    )
    return int(json.loads(answer)["id"])


def record_and_ask(tab: Visit, name: str, user_id: int) -> None:
    """Record 500,000 calls of the customer, read their price, ask for the report."""
    page = tab.page
    tab.go(f"/customers/{user_id}")
    expect(page.get_by_text("Nothing used in this month")).to_be_visible()
    tab.follow(page.get_by_role("link", name="Record usage").first)
    form = page.get_by_role("region", name="Record usage")
    expect(form.get_by_label("Customer")).to_have_value(str(user_id))
    form.get_by_label("Event").select_option("api_calls")
    form.get_by_label("Quantity").fill("half a million")
    tab.follow(form.get_by_role("button", name="Record usage"), status=422)
    expect(form.get_by_label("Quantity")).to_have_accessible_description(WRONG_QUANTITY)
    expect(form.get_by_label("Quantity")).to_have_value("half a million")
    expect(form.get_by_label("Event")).to_have_value("api_calls")
    form.get_by_label("Quantity").fill("500000")
    tab.follow(form.get_by_role("button", name="Record usage"))
    expect(page.get_by_role("status")).to_have_text("The usage is recorded.")
    tab.follow(page.get_by_role("link", name=name).first)
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.get_by_role("row", name="Total so far $205.00")).to_be_visible()
    expect(page.get_by_role("row", name="100,000 to 1,000,000")).to_contain_text("160.00")
    tab.follow(page.get_by_role("link", name="Generate report").first)
    tab.follow(page.get_by_role("button", name="Generate report"))
    expect(page.locator(".job").first).to_contain_text(name)


def check_download(page: Page, user_id: int) -> None:
    """Download the newest report and read its text."""
    with page.expect_download() as waited:
        page.get_by_role("link", name="Download").first.click()
    file = waited.value
    assert re.fullmatch(rf"user-{user_id}-\d{{4}}-\d\d\.pdf", file.suggested_filename)
    with file.path().open("rb") as content:
        text = " ".join(sheet.extract_text() for sheet in PdfReader(content).pages)
    assert "$205.00" in text
    assert "500,000" in text


def test_it_leads_from_sign_in_to_the_pdf(site: Site, visit: Open) -> None:
    user_id = create_customer(site, "Fresh Start")
    tab = visit()
    tab.sign_in("manager")
    record_and_ask(tab, "Fresh Start", user_id)
    tab.page.evaluate("window.notReloaded = true")
    job = tab.page.locator(".job").first
    expect(job.get_by_role("link", name="Download")).to_be_visible(timeout=120_000)
    assert tab.page.evaluate("window.notReloaded") is True
    assert job.get_attribute("hx-trigger") is None
    check_download(tab.page, user_id)


def test_it_leads_there_without_javascript(site: Site, visit: Open) -> None:
    user_id = create_customer(site, "Plain Paper")
    tab = visit(java_script_enabled=False)
    tab.sign_in("manager")
    record_and_ask(tab, "Plain Paper", user_id)
    row = tab.page.locator(".job").first
    if row.get_by_role("link", name="Download").count() == 0:
        tab.follow(row.get_by_role("link", name="Reload to see progress"))
        expect(tab.page.get_by_role("heading", level=1)).to_have_text("Plain Paper")
    for _ in range(1000):
        again = tab.page.get_by_role("link", name="Reload to see progress")
        if again.count() == 0:
            break
        tab.follow(again)
        tab.page.wait_for_timeout(100)
    check_download(tab.page, user_id)


def test_it_leads_to_sign_in_when_the_session_has_ended_and_back(visit: Open) -> None:
    tab = visit()
    tab.sign_in("admin")
    tab.go("/customers")
    tab.page.wait_for_load_state("networkidle")  # a late answer would bring the cookie back
    tab.page.context.clear_cookies()
    tab.page.get_by_label("Search by name or e-mail").fill("hexa")
    tab.page.wait_for_url("**/sign-in?next=*")
    email, password = tab.site.passwords["admin"]
    tab.page.get_by_label("E-mail").fill(email)
    tab.page.get_by_label("Password").fill(password)
    with tab.load():
        tab.page.keyboard.press("Enter")
    tab.page.wait_for_url("**/customers?q=hexa*")
    expect(tab.page.locator("#customer-list tbody tr")).to_have_count(1)


@pytest.mark.parametrize("script", [True, False], ids=["javascript", "plain"])
def test_it_refuses_a_wrong_password_and_keeps_the_address(visit: Open, *, script: bool) -> None:
    tab = visit(java_script_enabled=script)
    tab.go("/sign-in?next=/usage")
    tab.page.get_by_label("E-mail").fill(tab.site.passwords["manager"][0])
    tab.page.get_by_label("Password").fill("something else")
    tab.follow(tab.page.get_by_role("button", name="Sign in"), status=401)
    expect(tab.page.get_by_role("alert")).to_have_text(
        "The e-mail address or the password is wrong."
    )
    expect(tab.page.get_by_label("E-mail")).to_have_value(tab.site.passwords["manager"][0])
    tab.page.get_by_label("Password").fill(tab.site.passwords["manager"][1])
    tab.follow(tab.page.get_by_role("button", name="Sign in"))
    expect(tab.page).to_have_url(f"{tab.site.url}/usage")


@pytest.mark.parametrize("script", [True, False], ids=["javascript", "plain"])
def test_it_says_what_is_wrong_with_a_range_beside_it(visit: Open, *, script: bool) -> None:
    tab = visit(java_script_enabled=script)
    tab.sign_in("customer")
    tab.go("/reports")
    form = tab.page.get_by_role("region", name="Generate a report")
    form.get_by_label("Period").select_option(label="A range of days")
    form.get_by_label("From", exact=True).fill("2026-10-20")
    form.get_by_label("To", exact=True).fill("2026-10-02")
    form.get_by_label("Format").select_option("xlsx")
    tab.follow(form.get_by_role("button", name="Generate report"), status=422)
    expect(form.get_by_label("To", exact=True)).to_have_accessible_description(
        "Choose a day that is not before the first."
    )
    expect(form.get_by_label("From", exact=True)).to_have_value("2026-10-20")
    expect(form.get_by_label("To", exact=True)).to_have_value("2026-10-02")
    expect(form.get_by_label("Format")).to_have_value("xlsx")


@pytest.mark.parametrize("script", [True, False], ids=["javascript", "plain"])
def test_it_signs_out(visit: Open, *, script: bool) -> None:
    tab = visit(java_script_enabled=script)
    tab.sign_in("customer")
    tab.follow(tab.page.get_by_role("button", name="Sign out"))
    tab.page.wait_for_url("**/sign-in")
    tab.page.go_back()
    expect(tab.page.get_by_role("heading", level=1)).to_have_text("Sign in")
