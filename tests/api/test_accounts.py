"""Invitations, resets and roles over the API, and what a manager's key must never do."""

from __future__ import annotations

import pytest
from apiflask import APIFlask

from billtrack.accounts.users.permissions import Role
from tests.cast import PASSWORD, Cast, as_person, create_user
from tests.notifications.mail.mailbox import deliver

pytestmark = pytest.mark.one_database

NEW = {"email": "kiln@test.example", "name": "Kiln", "invite": True}


def test_it_invites_once_for_the_same_key(app: APIFlask, cast: Cast) -> None:
    key = {"Idempotency-Key": "one"}
    answers = [cast.manager.post("/api/v1/users", NEW, headers=key) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    user = answers[0].get_json()
    assert (user["has_password"], user["role"]) == (False, "customer")
    assert [letter["To"] for letter in deliver(app)] == ["Kiln <kiln@test.example>"]
    where = f"/api/v1/users/{user['id']}/invite"
    answers = [cast.manager.post(where, headers={"Idempotency-Key": "two"}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [202, 202]
    assert answers[0].get_json() == answers[1].get_json()
    assert set(answers[0].get_json()) == {"user_id", "email", "expires_at"}
    assert len(deliver(app)) == 2
    assert cast.manager.post(f"/api/v1/users/{user['id']}/password-reset").status_code == 409


def test_it_takes_a_password_or_an_invitation(cast: Cast) -> None:
    answer = cast.admin.post("/api/v1/users", {**NEW, "password": PASSWORD})
    assert answer.status_code == 422
    assert "either a password, or invite" in answer.get_json()["errors"][0]["detail"]


def test_it_sends_a_reset(app: APIFlask, cast: Cast) -> None:
    ada = create_user(email="ada@test.example", password=PASSWORD)
    answer = cast.manager.post(f"/api/v1/users/{ada.id}/password-reset")
    assert answer.status_code == 202
    (letter,) = deliver(app)
    assert letter["Subject"] == "Choose another password for billtrack"
    assert cast.manager.post(f"/api/v1/users/{ada.id}/invite").status_code == 409


def test_a_manager_raises_nobody_and_resets_no_administrator(app: APIFlask, cast: Cast) -> None:
    boss = create_user(role=Role.ADMIN, email="boss@test.example", password=PASSWORD)
    for role in ("admin", "manager"):
        assert cast.manager.post("/api/v1/users", {**NEW, "role": role}).status_code == 403
        for member in (cast.customer, cast.provider):
            where = f"/api/v1/users/{member.id}"
            assert cast.manager.patch(where, {"role": role}).status_code == 403
            assert cast.manager.get(where).get_json()["role"] == member.user.role
    for action in ("password-reset", "invite", "reactivate", "deactivate"):
        assert cast.manager.post(f"/api/v1/users/{boss.id}/{action}").status_code == 404
    assert cast.manager.patch(f"/api/v1/users/{boss.id}", {"role": "customer"}).status_code == 404
    own = f"/api/v1/users/{cast.manager.id}"
    for role in ("admin", "customer"):
        assert cast.manager.patch(own, {"role": role}).status_code == 403
    assert deliver(app) == []


def test_name_and_role_change_together_or_not_at_all(cast: Cast) -> None:
    where, admin = f"/api/v1/users/{cast.customer.id}", as_person(cast.admin)
    assert cast.manager.patch(where, {"name": "N", "role": "admin"}).status_code == 403
    assert cast.manager.get(where).get_json()["name"] == "Customer"
    assert cast.admin.patch(where, {"name": "N", "role": "manager"}).status_code == 403
    assert cast.manager.get(where).get_json()["name"] == "Customer"
    assert admin.patch(where, {"name": "N", "role": "manager"}).status_code == 200
    shown = cast.admin.get(where).get_json()
    assert (shown["name"], shown["role"]) == ("N", "manager")
    last = admin.patch(f"/api/v1/users/{cast.admin.id}", {"role": "manager"})
    assert (last.status_code, last.get_json()["code"]) == (409, "last_administrator")
