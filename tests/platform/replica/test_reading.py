"""What may be old is read from the replica, and nothing else is."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select, update

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Role
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.replica.reading import COOKIE, may_be_old, read_all_stored
from billtrack.usage.records.models import UsageRecord
from tests.cast import PASSWORD, create_record, create_user, csrf_token, sign_in
from tests.platform.replica.conftest import Site, where


def test_lists_may_be_old_but_a_record_and_its_price_never_are(paused: Site) -> None:
    record = paused.inside(lambda: create_record(paused.cast, quantity=500_000))
    customer = paused.cast.customer.id
    assert paused.get("/api/v1/usage")["data"] == []
    assert paused.get("/api/v1/usage/summary")["data"] == []
    assert paused.get(f"/api/v1/usage/{record.id}")["quantity"] == 500_000
    assert paused.get(f"/api/v1/users/{customer}/statement")["total"] == "205.00"


def test_a_new_account_can_sign_in_at_once(paused: Site) -> None:
    user = paused.inside(
        lambda: create_user(role=Role.MANAGER, email="new@test.example", password=PASSWORD)
    )
    browser = paused.app.test_client()
    sign_in(browser, user)
    browser.delete_cookie(COOKIE)
    assert browser.get("/customers").status_code == 200


def test_a_request_that_writes_reads_the_primary_from_then_on(site: Site) -> None:
    seen: list[bool] = []

    def write_and_read() -> None:
        seen.append(where())
        with transaction():
            seen.append(where())
        seen.append(where())
        seen.append(may_be_old(where)())

    site.wait_for_replica()
    site.probe = write_and_read
    site.ask_probe()
    assert seen == [True, False, False, False]


def test_nothing_inside_a_transaction_reads_the_replica(site: Site) -> None:
    site.wait_for_replica()

    def write() -> bool:
        with transaction():
            return may_be_old(where)()

    assert site.inside(write) is False


@pytest.fixture
def browser(site: Site) -> FlaskClient:
    """A manager's browser that has written nothing for a while."""
    manager = site.inside(
        lambda: create_user(role=Role.MANAGER, email="eva@test.example", password=PASSWORD)
    )
    client = site.app.test_client()
    sign_in(client, manager)
    client.delete_cookie(COOKIE)
    return client


def test_who_records_by_the_form_sees_it_in_the_list(browser: FlaskClient, paused: Site) -> None:
    token = csrf_token(browser.get("/usage"))
    form = {
        "csrf_token": token,
        "user_id": str(paused.cast.customer.id),
        "event": "api_calls",
        "quantity": "7654321",
        "idempotency_key": "form-of-this-test-1",
    }
    sent = browser.post("/usage/records", data=form)
    assert sent.status_code == 303
    assert "7,654,321" in browser.get(sent.location).get_data(as_text=True)
    browser.delete_cookie(COOKIE)  # as the browser does after some seconds
    assert "7,654,321" not in browser.get(sent.location).get_data(as_text=True)


def test_only_a_form_leaves_the_mark(browser: FlaskClient, site: Site) -> None:
    for path in ("/", "/usage", "/customers"):
        assert browser.get(path).status_code == 200
        assert browser.get_cookie(COOKIE) is None
    browser.post("/sign-out", data={"csrf_token": csrf_token(browser.get("/usage"))})
    mark = browser.get_cookie(COOKIE)
    assert mark is not None
    assert (mark.max_age, mark.http_only, mark.same_site) == (15, True, "Lax")


def test_pages_and_exports_read_the_replica(browser: FlaskClient, paused: Site) -> None:
    name = "Somebody of whom the replica knows nothing"
    paused.inside(lambda: rename(paused.cast.customer.id, name))
    paused.inside(lambda: create_record(paused.cast))
    for path in ("/", "/usage", "/customers", "/usage/export.csv"):
        assert name not in browser.get(path, buffered=True).get_data(as_text=True), path
    for path in ("/", "/usage", "/customers", "/usage/export.csv"):
        browser.set_cookie(COOKIE, "1")
        assert name in browser.get(path, buffered=True).get_data(as_text=True), path


def test_a_report_waits_until_the_replica_has_everything(site: Site) -> None:
    site.wait_for_replica()

    def record_and_read() -> tuple[bool, int | None]:
        create_record(site.cast)
        return read_all_stored(lambda: (where(), records()))

    assert site.inside(record_and_read) == (True, 1)


def records() -> int | None:
    return db.session.scalar(select(func.count()).select_from(UsageRecord))


def rename(user_id: int, name: str) -> None:
    with transaction() as session:
        session.execute(update(User).where(User.id == user_id).values(name=name))
