"""The accounts pages: who sees which, invitations, roles, and what a manager must never do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import select, update

from billtrack.accounts.users.models import ApiKey, OneTimeLink, User, UserSession
from billtrack.accounts.users.permissions import Role
from billtrack.accounts.users.queries import find_user_by_email
from billtrack.billing.plans.queries import list_subscriptions
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.cast import PASSWORD, Cast, Member, create_user
from tests.dashboard.page import Page, Visitor, create_session
from tests.notifications.mail.mailbox import deliver, link_in

pytestmark = pytest.mark.one_database

EMAIL = "kiln@test.example"
NEW = {"name": "Kiln", "email": EMAIL, "role": "customer", "invite": "y"}


@pytest.fixture
def admin(app: APIFlask, cast: Cast) -> Visitor:
    return Visitor(app, cast.admin)


@pytest.fixture
def manager(app: APIFlask, cast: Cast) -> Visitor:
    return Visitor(app, cast.manager)


def create(visitor: Visitor, **changes: str) -> Page:
    page = visitor.open("/settings/accounts/new")
    return visitor.send(page, "/settings/accounts", {**NEW, **changes})


def path(member: Member | User, action: str = "") -> str:
    return f"/settings/accounts/{member.id}{action}"


def found(email: str = EMAIL) -> User:
    db.session.rollback()
    user = find_user_by_email(email)
    assert user is not None
    return user


def role_of(member: Member) -> str:
    db.session.rollback()
    db.session.expire_all()
    return db.session.get_one(User, member.id).role


def states(page: Page) -> dict[str, str]:
    return {row[0].rpartition(" ")[2]: row[3] for row in page.table("Accounts")}


def post(visitor: Visitor, to: str, data: dict[str, Any] | None = None) -> int:
    """Send what no form of a page offers, with a token that is good."""
    token = visitor.open("/settings/profile").values("/settings/profile")["csrf_token"]
    return visitor.request("POST", to, data={"csrf_token": token, **(data or {})}).status


def test_an_invited_customer_signs_in(app: APIFlask, manager: Visitor) -> None:
    page = manager.follow(create(manager))
    assert page.alerts == ["Kiln is invited: a letter is on its way."]
    assert states(manager.open("/settings/accounts?q=kiln")) == {EMAIL: "invited"}
    assert len(list_subscriptions(found().id)) == 1
    (letter,) = deliver(app)
    assert "Manager has made an account for you" in str(letter.get_body(("plain",)))
    guest = Visitor(app)
    typed = {"password": PASSWORD, "password_again": PASSWORD}
    chosen = guest.send(guest.open(link_in(letter)), "/choose-password", typed)
    entered = guest.send(guest.follow(chosen), "/sign-in", {"email": EMAIL, "password": PASSWORD})
    assert entered.location == "/"
    assert states(manager.open("/settings/accounts?q=kiln&state=active")) == {EMAIL: "active"}


def test_another_invitation_ends_the_one_before(app: APIFlask, manager: Visitor) -> None:
    page = manager.follow(create(manager))
    page = manager.follow(manager.send(page, path(found(), "/invite")))
    assert page.alerts == ["An invitation is on its way. Earlier ones do not work any more."]
    first, second = deliver(app)
    Visitor(app).open(link_in(first), 404)
    Visitor(app).open(link_in(second))
    with transaction() as session:
        session.execute(update(OneTimeLink).values(expires_at=datetime.now(UTC)))
    assert states(manager.open("/settings/accounts?q=kiln")) == {EMAIL: "invitation expired"}


def test_without_an_invitation_no_letter_goes_out(app: APIFlask, admin: Visitor) -> None:
    page = admin.open("/settings/accounts/new")
    token = page.values("/settings/accounts")["csrf_token"]
    data = {**NEW, "role": "provider", "csrf_token": token}
    del data["invite"]
    assert admin.request("POST", "/settings/accounts", data=data).status == 303
    assert states(admin.open("/settings/accounts?q=kiln")) == {EMAIL: "Not invited"}
    assert deliver(app) == []


@pytest.mark.parametrize(
    ("typed", "field", "error"),
    [
        ({"name": ""}, "name", "Write a name."),
        ({"email": "customer@test.example"}, "email", "There is an account for"),
        ({"email": "nonsense"}, "email", "sign"),
        ({"role": "owner"}, "role", "Choose one of the list."),
    ],
)
def test_it_says_what_is_wrong_and_keeps_what_was_typed(
    admin: Visitor, typed: dict[str, str], field: str, error: str
) -> None:
    page = create(admin, **typed)
    assert page.status == 422
    assert error in str(page.error("/settings/accounts", field))
    kept = {**NEW, **typed}
    assert page.values("/settings/accounts")["email"] == kept["email"]
    assert deliver(admin.app) == []


def test_managers_see_customers_providers_and_themselves(cast: Cast, manager: Visitor) -> None:
    seen = states(manager.open("/settings/accounts"))
    assert "admin@test.example" not in seen
    assert len(seen) == 6
    for action in ("", "/deactivate"):
        manager.open(path(cast.admin, action), 404)
    for role in ("provider", "customer"):
        other = Visitor(manager.app, getattr(cast, role))
        for address in ("/settings/accounts", "/settings/accounts/new", path(cast.stranger)):
            other.open(address, 403)


def test_a_manager_raises_nobody(cast: Cast, manager: Visitor) -> None:
    for role in ("manager", "admin"):
        assert create(manager, role=role).status == 422
        for member in (cast.customer, cast.provider, cast.manager):
            data = {"name": "X", "email": f"x{member.id}@test.example", "role": role}
            before = role_of(member)
            status = post(manager, path(member), data)
            assert (status, role_of(member)) == (303 if role == before else 422, before)
    assert find_user_by_email(EMAIL) is None


def test_a_manager_touches_no_administrator_and_no_other_manager(
    app: APIFlask, cast: Cast, manager: Visitor
) -> None:
    peer = create_user(role=Role.MANAGER, email="peer@test.example", password=PASSWORD)
    data = {"name": "X", "email": "x@test.example", "role": "customer"}
    for member in (cast.admin, peer):
        for action in ("", "/invite", "/password-reset", "/deactivate", "/reactivate"):
            assert post(manager, path(member, action), data) == 404
    assert deliver(app) == []
    assert role_of(cast.admin) == "admin"


def test_another_role_ends_sessions_and_keys(app: APIFlask, cast: Cast, admin: Visitor) -> None:
    create_session(cast.provider)
    page = admin.open(path(cast.provider))
    page = admin.follow(admin.send(page, path(cast.provider), {"role": "customer"}))
    assert page.alerts == ["The account is saved."]
    assert role_of(cast.provider) == "customer"
    mine = UserSession.user_id == cast.provider.id
    assert None not in db.session.scalars(select(UserSession.revoked_at).where(mine)).all()
    keys = select(ApiKey.revoked_at).where(ApiKey.user_id == cast.provider.id)
    assert None not in db.session.scalars(keys).all()
    assert cast.provider.get("/api/v1/me").status_code == 401
    assert len(list_subscriptions(cast.provider.id)) == 1


def test_the_last_administrator_stays(cast: Cast, admin: Visitor) -> None:
    page = admin.send(admin.open(path(cast.admin)), path(cast.admin), {"role": "manager"})
    assert page.status == 422
    assert "Create another administrator first" in str(page.error(path(cast.admin), "role"))
    assert post(admin, path(cast.admin, "/deactivate")) == 303
    assert role_of(cast.admin) == "admin"
    assert found("admin@test.example").is_active


def test_it_is_deactivated_after_a_question_and_let_in_again(
    app: APIFlask, cast: Cast, manager: Visitor
) -> None:
    token = create_session(cast.customer)
    asked = manager.open(path(cast.customer, "/deactivate"))
    page = manager.follow(manager.send(asked, path(cast.customer, "/deactivate")))
    assert cast.customer.get("/api/v1/meters").status_code == 401
    page = manager.follow(manager.send(page, path(cast.customer, "/reactivate")))
    assert page.alerts == ["The account is active again."]
    assert cast.customer.get("/api/v1/meters").status_code == 200
    back = Visitor(app)
    back.plant(token)  # sessions from before stay ended
    assert back.request("GET", "/settings/profile").status == 303


def test_a_reset_goes_to_the_account_and_is_shown_to_nobody(app: APIFlask, admin: Visitor) -> None:
    ada = create_user(role=Role.MANAGER, email="ada@test.example", password=PASSWORD)
    page = admin.follow(admin.send(admin.open(path(ada)), path(ada, "/password-reset")))
    (letter,) = deliver(app)
    assert letter["To"] == "ada <ada@test.example>"
    assert link_in(letter).partition("token=")[2] not in page.source
    for _ in range(5):
        page = admin.follow(admin.send(page, path(ada, "/password-reset")))
    assert page.alerts == ["This account was sent enough links for now. Try again in an hour."]


def test_a_letter_that_could_not_be_delivered_is_shown(app: APIFlask, manager: Visitor) -> None:
    create(manager)
    with transaction() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(update(db.metadata.tables["letters"]).values(expires_at=past))
    deliver(app)
    assert states(manager.open("/settings/accounts?q=kiln")) == {EMAIL: "letter not delivered"}
