"""Customers who change their passwords hold up nobody who records usage."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from billtrack.accounts.users.permissions import Role
from tests.accounts.users.test_password_strength import SLOW
from tests.cast import PASSWORD, create_user
from tests.scenarios.accounts import create_account
from tests.scenarios.conftest import Site
from tests.scenarios.harness import Browser, Installation

CHANGES = 5
MEANWHILE = 6
"""Records for each change at least."""
EMAIL = "slow@test.example"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A running installation on SQLite, where one writes at a time."""
    return Site(Installation(tmp_path))


def test_recording_does_not_wait_for_a_password_that_is_slow_to_judge(site: Site) -> None:
    installation = site.installation
    provider = create_account(installation, Role.PROVIDER, "provider@test.example")
    customer = create_account(installation, Role.CUSTOMER, "customer@test.example")
    with installation.inside():
        create_user(email=EMAIL, password=PASSWORD)
    browser = Browser(installation)
    assert browser.sign_in(EMAIL, PASSWORD).status == 303
    is_over = threading.Event()
    slow = list(SLOW.values())[:CHANGES]

    def change() -> list[int]:
        current, statuses = PASSWORD, []
        for new in slow:
            typed = {"current_password": current, "password": new, "password_again": new}
            answer = browser.submit("/settings/profile", "/settings/password", **typed)
            statuses.append(answer.status)
            current = new if answer.status == 303 else current
        is_over.set()
        return statuses

    def record() -> int:
        body = {"user_id": customer.id, "event": "api_calls", "quantity": 1}
        count = 0
        while not is_over.is_set():
            answer = installation.ask("POST", "/api/v1/usage/", key=provider.key, body=body)
            assert answer.status == 201, answer.text
            count += 1
        return count

    with ThreadPoolExecutor(2) as threads:
        changing, recording = threads.submit(change), threads.submit(record)
        statuses, count = changing.result(), recording.result()
    assert len(statuses) == CHANGES
    assert set(statuses) <= {303, 422}
    assert 303 in statuses
    # Held up by each change, it would get some two in beside the page with the form.
    assert count > MEANWHILE * CHANGES, count
    assert site.up.stop() == 0
    installation.close()
