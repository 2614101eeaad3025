"""A report in each of its states, and how a page keeps up with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Page, Request, expect

from billtrack.accounts.users.permissions import Role
from billtrack.core.periods import Month
from billtrack.documents.reports.operations import request_report
from billtrack.platform.db import transaction
from billtrack.platform.jobs import operations as jobs
from tests.browser.conftest import Open, Visit
from tests.browser.looks import find_faults
from tests.browser.sites import Workshop
from tests.cast import PASSWORD, SYSTEM, create_user

MANAGER = "manager@jobs.example"
LOST = "The worker stopped 5 times while it was at this. Retry, or report it."
STATES = ("queued", "running", "completed", "failed")


@pytest.fixture(scope="module")
def at_work(workshop: Workshop) -> Workshop:
    """Reports that stay queued, running, completed (its file expired) and failed: 1 to 4."""
    with workshop.app.app_context():
        create_user(role=Role.MANAGER, email=MANAGER, password=PASSWORD)
        user = create_user(email="a-customer-with-a-name-longer-than-its-place@jobs.example")
        now = datetime.now(UTC)
        for state in STATES:
            with transaction():
                days = Month.of(now.date()).dates
                report = request_report(user, days, file_format="pdf", actor=SYSTEM, now=now)
                if state != "queued":
                    jobs.claim(report.job_id, worker_id="gone", now=now)
                if state == "running":
                    jobs.report_progress(report.job_id, 1, 62)
                if state == "completed":
                    jobs.mark_completed(report.job_id, 1, now=now)
                if state == "failed":
                    jobs.mark_failed(report.job_id, 1, error=LOST, now=now)
    return replace(workshop, passwords={"manager": (MANAGER, PASSWORD)})


@pytest.fixture
def tab(at_work: Workshop, open_at: Open) -> Visit:
    tab = open_at(at_work)
    tab.sign_in("manager")
    return tab


def test_every_state_fits_and_can_be_read(tab: Visit) -> None:
    found = []
    for path in ("/", "/reports", *(f"/reports/jobs/{n}" for n in range(1, len(STATES) + 1))):
        tab.go(path)
        found += find_faults(tab.page, path)
    assert found == [], "\n".join(found)


def test_a_failed_report_says_why_and_is_retried_in_place(tab: Visit) -> None:
    tab.go("/reports")
    tab.page.evaluate("window.notReloaded = true")
    job = tab.page.locator("#job-4")
    expect(job).to_contain_text(LOST)
    job.get_by_role("button", name="Retry").click()
    expect(job).to_contain_text("queued")
    expect(job.get_by_role("button")).to_have_count(0)
    assert tab.page.evaluate("window.notReloaded") is True


def hide(page: Page, *, hidden: bool) -> None:
    """Tell the page that its tab was left or is looked at again; no window is there to switch."""
    page.evaluate(
        """(hidden) => {
          Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
          document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_it_asks_only_while_somebody_looks_and_at_once_on_return(tab: Visit) -> None:
    asked: list[str] = []

    def note(request: Request) -> None:
        asked.append(request.url.removeprefix(tab.site.url))

    tab.go("/reports")
    path = "/reports/jobs/1"
    with tab.page.expect_response(f"**{path}"):
        pass  # while somebody looks it asks by itself
    hide(tab.page, hidden=True)
    tab.page.wait_for_timeout(300)  # what was on its way
    tab.page.on("request", note)
    tab.page.wait_for_timeout(2_500)
    assert asked == []
    with tab.page.expect_response(f"**{path}"):
        hide(tab.page, hidden=False)
    with tab.page.expect_response(f"**{path}"):
        pass  # and goes on by itself


def test_the_overview_catches_up_on_return(tab: Visit) -> None:
    tab.go("/")
    hide(tab.page, hidden=True)
    with tab.page.expect_response(lambda answer: answer.url == f"{tab.site.url}/") as waited:
        hide(tab.page, hidden=False)
    assert waited.value.status in {200, 304}
    expect(tab.page.locator("#live")).to_be_visible()
    expect(tab.page.get_by_role("heading", level=1)).to_have_count(1)
