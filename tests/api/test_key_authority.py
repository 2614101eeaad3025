"""An API key changes customers; accounts that may do more than the key are out of its hands."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from billtrack.accounts.credentials.api_keys import create_api_key
from billtrack.accounts.users.models import ApiKey, User
from billtrack.accounts.users.permissions import Permission, Role, grantable_scopes
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.api.test_scopes import scoped_key
from tests.cast import PASSWORD, SYSTEM, Cast, Member, as_person

pytestmark = pytest.mark.one_database

ROLES = (Role.CUSTOMER, Role.PROVIDER, Role.MANAGER, Role.ADMIN)
MANAGING = frozenset(
    {
        Permission.USERS_WRITE,
        Permission.USERS_ERASE,
        Permission.USERS_EXPORT,
        Permission.API_KEYS_WRITE,
    }
)
KEYS = {
    "narrow": MANAGING,
    "provider": MANAGING | grantable_scopes(Role.PROVIDER),
    "full": grantable_scopes(Role.ADMIN),
}
"""Keys of an administrator: the scopes to ask, those and a provider's, and all."""

NONE = "403 403 403"

# For a customer, a provider, a manager and another administrator: what each of the KEYS gets.
TABLE: dict[str, tuple[str, str, str, str]] = {
    "create": ("201 201 201", "403 201 201", "403 403 201", "403 403 201"),
    "create and invite": ("201 201 201", "403 201 201", "403 403 201", "403 403 201"),
    "create with password": ("201 201 201", NONE, NONE, NONE),
    "change name": ("200 200 200", "403 200 200", "403 403 200", "403 403 200"),
    "change e-mail": ("200 200 200", NONE, NONE, NONE),
    "change role": (NONE, NONE, NONE, NONE),
    "deactivate": ("200 200 200", NONE, NONE, NONE),
    "reactivate": ("200 200 200", NONE, NONE, NONE),
    "invite": ("202 202 202", NONE, NONE, NONE),
    "reset password": ("202 202 202", NONE, NONE, NONE),
    "erase": ("200 200 200", NONE, NONE, NONE),
    "export": ("200 200 200", "200 200 200", "200 200 200", "200 200 200"),
    "create key": ("201 201 201", "403 201 201", "403 403 201", "403 403 201"),
    "rotate key": ("403 403 201", "403 201 201", "403 403 201", "403 403 201"),
    "revoke key": ("200 200 200", "403 200 200", "403 403 200", "403 403 200"),
}


@pytest.mark.parametrize("key", list(KEYS))
def test_it_limits_a_key_by_the_role_of_the_account(cast: Cast, key: str) -> None:
    member, wrong = scoped_key(cast.admin, sorted(KEYS[key])), []
    for operation, expected in TABLE.items():
        for role, statuses in zip(ROLES, expected, strict=True):
            right = int(statuses.split()[list(KEYS).index(key)])
            answer, untouched = attempt(member, operation, role)
            if answer.status_code != right:
                wrong.append(f"{operation} {role}: {answer.status_code} for {right}")
            if right == 403 and not untouched:
                wrong.append(f"{operation} {role}: refused, and yet done")
    assert not wrong, "\n".join(wrong)


def test_it_does_not_limit_who_signs_in(cast: Cast) -> None:
    person = as_person(cast.admin)
    for operation in TABLE:
        for role in ROLES:
            answer, _ = attempt(person, operation, role)
            assert answer.status_code < 300, (operation, role, answer.text)


def test_it_lets_a_key_of_a_manager_rename_and_invite_providers(cast: Cast) -> None:
    path = f"/api/v1/users/{cast.provider.id}"
    assert cast.manager.patch(path, {"name": "Renamed"}).status_code == 200
    same = {"name": "Renamed", "email": cast.provider.user.email, "role": "provider"}
    assert cast.manager.patch(path, same).status_code == 200
    new = {"name": "New", "email": "new@test.example", "role": "provider", "invite": True}
    assert cast.manager.post("/api/v1/users", new).status_code == 201
    both = cast.manager.patch(path, {"name": "Again", "email": "other@test.example"})
    assert both.status_code == 403
    assert cast.manager.get(path).get_json()["name"] == "Renamed"


def test_it_tells_what_is_missing(cast: Cast) -> None:
    narrow = scoped_key(cast.admin, [Permission.USERS_WRITE])
    new = {"name": "New", "email": "new@test.example", "role": "provider"}
    refused = narrow.post("/api/v1/users", new).get_json()
    assert refused["code"] == "forbidden"
    assert "It lacks the scopes api-keys:read, api-keys:write, " in refused["detail"]
    refused = cast.admin.post("/api/v1/users", {**new, "password": PASSWORD}).get_json()
    assert "Invite the provider instead." in refused["detail"]
    refused = cast.admin.post(f"/api/v1/users/{cast.provider.id}/deactivate").get_json()
    assert "Sign in to change it." in refused["detail"]


def test_a_narrow_key_does_not_rename_the_account_that_it_belongs_to(cast: Cast) -> None:
    narrow = scoped_key(cast.admin, [Permission.USERS_WRITE])
    assert narrow.patch(f"/api/v1/users/{cast.admin.id}", {"name": "X"}).status_code == 403
    own = f"/api/v1/users/{cast.admin.id}"
    assert cast.admin.patch(own, {"email": "x@test.example"}).status_code == 403


def test_it_answers_a_repeated_request_as_before(cast: Cast) -> None:
    new = {"name": "New", "email": "new@test.example", "role": "manager", "invite": True}
    same = {"Idempotency-Key": "one"}
    narrow = scoped_key(cast.admin, [Permission.USERS_WRITE])
    assert narrow.post("/api/v1/users", new, headers=same).status_code == 403
    first = cast.admin.post("/api/v1/users", new, headers=same)
    again = cast.admin.post("/api/v1/users", new, headers=same)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.get_json() == again.get_json()


def attempt(member: Member, operation: str, role: Role) -> tuple[TestResponse, bool]:
    """Try the operation on a new account of the role; tell whether nothing has changed by it."""
    if operation.startswith("create") and operation != "create key":
        return _create(member, operation, role)
    user_id, key_id = _create_target(operation, role)
    email = db.session.get_one(User, user_id).email
    path, keys = f"/api/v1/users/{user_id}", f"/api/v1/api-keys/{key_id}"
    other = "provider" if role is Role.CUSTOMER else "customer"
    calls: dict[str, Callable[[], TestResponse]] = {
        "change name": lambda: member.patch(path, {"name": "Renamed"}),
        "change e-mail": lambda: member.patch(path, {"email": f"new-{email}"}),
        "change role": lambda: member.patch(path, {"role": other}),
        "deactivate": lambda: member.post(f"{path}/deactivate"),
        "reactivate": lambda: member.post(f"{path}/reactivate"),
        "invite": lambda: member.post(f"{path}/invite"),
        "reset password": lambda: member.post(f"{path}/password-reset"),
        "erase": lambda: member.post(f"{path}/erase", {"email": email}),
        "export": lambda: member.post(f"{path}/export", buffered=True),
        "create key": lambda: member.post("/api/v1/api-keys", {"name": "k", "user_id": user_id}),
        "rotate key": lambda: member.post(f"{keys}/rotate"),
        "revoke key": lambda: member.post(f"{keys}/revoke"),
    }
    before = _rows(user_id)
    answer = calls[operation]()
    return answer, _rows(user_id) == before


def _create(member: Member, operation: str, role: Role) -> tuple[TestResponse, bool]:
    email = f"{secrets.token_hex(6)}@test.example"
    how: dict[str, dict[str, object]] = {
        "create and invite": {"invite": True},
        "create with password": {"password": PASSWORD},
    }
    body = {"email": email, "name": "New", "role": role, **how.get(operation, {})}
    answer = member.post("/api/v1/users", body)
    db.session.rollback()
    return answer, db.session.scalar(select(User.id).where(User.email == email)) is None


def _create_target(operation: str, role: Role) -> tuple[int, int]:
    """Return the numbers of an account that the operation would change, and of its API key."""
    now, email = datetime.now(UTC), f"{secrets.token_hex(6)}@test.example"
    with transaction() as session:
        user = User(email=email, name="Target", role=role, created_at=now)
        user.password_hash = "x" if operation == "reset password" else None
        session.add(user)
        session.flush()
        key, _ = create_api_key(user, actor=SYSTEM, now=now, name="target")
        user.deactivated_at = now if operation == "reactivate" else None
    return user.id, key.id


def _rows(user_id: int) -> list[object]:
    db.session.rollback()
    tables = ((User, User.id), (ApiKey, ApiKey.user_id))
    return [
        tuple(row)
        for table, column in tables
        for row in db.session.execute(select(table.__table__).where(column == user_id))
    ]
