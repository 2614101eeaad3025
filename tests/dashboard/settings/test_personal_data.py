"""The pages that hand out and erase personal data."""

from __future__ import annotations

import pytest
from apiflask import APIFlask

from billtrack.accounts.users.models import User
from billtrack.platform.extensions import db
from tests.cast import Cast, Member
from tests.dashboard.page import Page, Visitor, text_of
from tests.privacy.people import unpack

pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
RIGHT = "customer@test.example"


def path(member: Member, action: str) -> str:
    return f"/settings/accounts/{member.id}/{action}"


def name_of(member: Member) -> str:
    db.session.rollback()
    return db.session.get_one(User, member.id, populate_existing=True).name


def erase(visitor: Visitor, member: Member, typed: str) -> Page:
    page = visitor.open(path(member, "erase"))
    return visitor.send(page, path(member, "erase"), {"email": typed})


def test_it_says_what_will_be_lost_and_wants_the_address(app: APIFlask, cast: Cast) -> None:
    admin = Visitor(app, cast.admin)
    page = admin.open(path(cast.customer, "erase"))
    for said in ("Deleted permanently", "1 API key", "Kept", f"Erased customer {cast.customer.id}"):
        assert said in page.text
    refused = erase(admin, cast.customer, "<b>other@test.example")
    assert refused.status == 422
    assert refused.values(path(cast.customer, "erase"))["email"] == "<b>other@test.example"
    told = refused.error(path(cast.customer, "erase"), "email")
    assert told == "This is not the address of the account. Nothing is erased."
    assert name_of(cast.customer) == "Customer"
    done = admin.follow(erase(admin, cast.customer, f" {RIGHT.upper()} "))
    assert done.alerts == ["The personal data are erased. Files follow within minutes."]
    assert name_of(cast.customer) == done.heading == f"Erased customer {cast.customer.id}"
    assert "A worker is removing files" in done.text
    assert "Save account" not in done.text
    assert admin.request("GET", path(cast.customer, "erase")).status == 303
    assert "erased" in admin.open(f"/customers/{cast.customer.id}").text


def test_it_erases_nobody_who_asks_or_is_the_last(app: APIFlask, cast: Cast) -> None:
    admin = Visitor(app, cast.admin)
    own = admin.open(f"/settings/accounts/{cast.admin.id}")
    assert "Another administrator can erase your account." in own.text
    assert admin.request("GET", path(cast.admin, "erase")).status == 303
    token = own.values(path(cast.admin, "export"))["csrf_token"]
    data = {"csrf_token": token, "email": cast.admin.user.email}
    admin.follow(admin.request("POST", path(cast.admin, "erase"), data=data))
    assert name_of(cast.admin) == "Admin"


def test_it_hands_out_the_data_as_a_file(app: APIFlask, cast: Cast) -> None:
    admin = Visitor(app, cast.admin)
    page = admin.open(f"/settings/accounts/{cast.customer.id}")
    sent = admin.send(page, path(cast.customer, "export"))
    assert RIGHT in unpack(sent.answer.data)["account.json"]
    customer = Visitor(app, cast.customer)
    own = customer.send(customer.open("/settings/profile"), path(cast.customer, "export"))
    assert RIGHT in unpack(own.answer.data)["account.json"]


def test_managers_neither_see_nor_reach_it(app: APIFlask, cast: Cast) -> None:
    manager = Visitor(app, cast.manager)
    page = manager.open(f"/settings/accounts/{cast.customer.id}")
    assert "Personal data" not in text_of(page.root)
    manager.open(path(cast.customer, "erase"), status=403)
