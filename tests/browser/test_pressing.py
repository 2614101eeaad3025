"""A press that the page answers in the middle still becomes a click."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Open

WRONG_QUANTITY = re.compile("^Write a whole number in digits only")


def press(page: Page, button: Locator) -> None:
    """Point at the button and press it, without letting go."""
    box = button.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()


def test_it_records_what_was_corrected_just_before_the_click(visit: Open) -> None:
    tab = visit()
    tab.sign_in("manager")
    tab.go("/usage#record")
    page = tab.page
    form = page.get_by_role("region", name="Record usage")
    form.get_by_label("Customer").select_option(label="Hexa Robotics")
    form.get_by_label("Event").select_option("api_calls")
    quantity = form.get_by_label("Quantity")
    quantity.fill("half a million")
    page.keyboard.press("Tab")
    expect(quantity).to_have_accessible_description(WRONG_QUANTITY)
    # What htmx has put in hears of events only once it is settled.
    page.wait_for_function("() => !document.querySelector('.htmx-added, .htmx-settling')")
    quantity.fill("500000")
    # The press leaves the field, the answer takes the message away, and the button moves up.
    with page.expect_response("**/usage/records/check/quantity?*") as waited:
        press(page, form.get_by_role("button", name="Record usage"))
    waited.value.finished()
    page.evaluate("() => new Promise((drawn) => requestAnimationFrame(() => setTimeout(drawn)))")
    expect(quantity).to_have_accessible_description(WRONG_QUANTITY)
    page.mouse.up()
    expect(page.get_by_role("status")).to_have_text("The usage is recorded.")


def test_it_redraws_after_a_press_beside_everything(visit: Open) -> None:
    tab = visit()
    tab.sign_in("manager")
    tab.go("/usage#record")
    page = tab.page
    form = page.get_by_role("region", name="Record usage")
    form.get_by_label("Quantity").fill("half a million")
    with page.expect_response("**/usage/records/check/quantity?*"):
        press(page, page.get_by_role("heading", level=1))
    page.mouse.up()
    expect(form.get_by_label("Quantity")).to_have_accessible_description(WRONG_QUANTITY)
