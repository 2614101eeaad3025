"""A change that waits for the lock on an account is judged by what the account is afterwards."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

import pytest
from apiflask import APIFlask
from sqlalchemy import func, select, text

from billtrack.accounts import lifecycle
from billtrack.accounts.sign_in.password_recovery import (
    PASSWORD_REQUEST,
    answer_request,
    request_reset,
)
from billtrack.accounts.users import operations
from billtrack.accounts.users.models import ApiKey, OneTimeLink, User
from billtrack.accounts.users.operations import LastAdministrator
from billtrack.accounts.users.permissions import Breadth, Permission, Reach, Role, grantable_scopes
from billtrack.notifications.mail.models import Letter
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.platform.jobs.runner import Runner
from tests.api.test_scopes import scoped_key
from tests.cast import SYSTEM, Cast, as_person
from tests.dashboard.page import Visitor
from tests.scenarios.harness import eventually
from tests.usage.racing import PATIENCE, in_threads

T = TypeVar("T")
EVERYTHING = Reach(Breadth.ALL, 0)
NEW = "taken.over@test.example"
FORM = {"name": "Customer", "email": NEW, "role": "customer"}
ON_POSTGRESQL = pytest.mark.parametrize("settings", ["postgresql"], indirect=True)

BY_API: dict[str, tuple[str, str, Any]] = {
    "update": ("PATCH", "", {"email": NEW}),
    "rename": ("PATCH", "", {"name": "Renamed"}),
    "change role": ("PATCH", "", {"role": "provider"}),
    "deactivate": ("POST", "/deactivate", None),
    "reactivate": ("POST", "/reactivate", None),
    "invite": ("POST", "/invite", None),
    "reset": ("POST", "/password-reset", None),
}
BY_PAGE: dict[str, tuple[str, dict[str, str]]] = {
    "update": ("", FORM),
    "change role": ("", {**FORM, "email": "customer@test.example", "role": "provider"}),
    "deactivate": ("/deactivate", {}),
    "reactivate": ("/reactivate", {}),
    "invite": ("/invite", {}),
    "reset": ("/password-reset", {}),
}


@pytest.mark.parametrize("credential", ["key", "token"])
@pytest.mark.parametrize("operation", list(BY_API))
def test_a_manager_changes_no_new_administrator_over_the_api(
    app: APIFlask, cast: Cast, operation: str, credential: str
) -> None:
    prepare(operation, cast.customer.id)
    method, action, body = BY_API[operation]
    manager = cast.manager if credential == "key" else as_person(cast.manager)

    options = {} if body is None else {"json": body}

    def send() -> int:
        path = f"/api/v1/users/{cast.customer.id}{action}"
        call = manager.patch if method == "PATCH" else manager.post
        return call(path, **options).status_code

    assert_unchanged_by(send, app, cast.customer.id, status=404)


@pytest.mark.parametrize("operation", list(BY_PAGE))
def test_a_manager_changes_no_new_administrator_on_the_page(
    app: APIFlask, cast: Cast, operation: str
) -> None:
    app.config["WTF_CSRF_ENABLED"] = False
    prepare(operation, cast.customer.id)
    action, form = BY_PAGE[operation]
    manager = Visitor(app, cast.manager)
    path = f"/settings/accounts/{cast.customer.id}{action}"

    def send() -> int:
        return manager.client.post(path, data=form).status_code

    assert_unchanged_by(send, app, cast.customer.id, status=404)


@pytest.mark.parametrize("what", ["update", "erase", "create key", "rotate key", "revoke key"])
def test_a_narrow_key_changes_no_new_administrator(app: APIFlask, cast: Cast, what: str) -> None:
    person = cast.customer.user
    (key_id,) = db.session.scalars(select(ApiKey.id).where(ApiKey.user_id == person.id)).all()
    own = [*cast.customer.get("/api/v1/api-keys").get_json()["data"][0]["scopes"]]
    scopes = [*own, Permission.USERS_WRITE, Permission.USERS_ERASE, Permission.API_KEYS_WRITE]
    narrow = scoped_key(cast.admin, scopes)
    calls: dict[str, Callable[[], Any]] = {
        "update": partial(narrow.patch, f"/api/v1/users/{person.id}", {"email": NEW}),
        "erase": partial(narrow.post, f"/api/v1/users/{person.id}/erase", {"email": person.email}),
        "create key": partial(narrow.post, "/api/v1/api-keys", {"name": "k", "user_id": person.id}),
        "rotate key": partial(narrow.post, f"/api/v1/api-keys/{key_id}/rotate"),
        "revoke key": partial(narrow.post, f"/api/v1/api-keys/{key_id}/revoke"),
    }
    assert_unchanged_by(lambda: calls[what]().status_code, app, person.id, status=403)


@ON_POSTGRESQL
def test_a_key_is_made_for_the_role_that_the_account_has_by_then(app: APIFlask, cast: Cast) -> None:
    wanted = {"name": "k", "user_id": cast.customer.id}

    def promote() -> None:
        lifecycle.change_role(cast.customer.id, role=Role.PROVIDER, **by_system())

    made = while_it_waits(
        app, promote, lambda: cast.admin.post("/api/v1/api-keys", wanted).get_json()
    )
    assert made["scopes"] == sorted(grantable_scopes(Role.PROVIDER))


@ON_POSTGRESQL
def test_a_link_goes_to_the_address_that_the_account_has_by_then(app: APIFlask, cast: Cast) -> None:
    prepare("reset", cast.customer.id)
    with transaction():
        request_reset(cast.customer.user.email, actor=SYSTEM, now=datetime.now(UTC))
    job_id = db.session.scalars(select(Job.id).where(Job.kind == PASSWORD_REQUEST)).one()
    runner = Runner({PASSWORD_REQUEST: answer_request}, worker_id="test")

    def move() -> None:
        operations.update_user(cast.customer.id, name=None, email=NEW, **by_system())

    while_it_waits(app, move, lambda: runner.run(job_id))
    assert db.session.scalars(select(Letter.address)).all() == [NEW]


@pytest.mark.by_chance
@ON_POSTGRESQL
@pytest.mark.parametrize("operation", ["deactivate", "demote"])
def test_two_administrators_do_not_remove_each_other(
    app: APIFlask, cast: Cast, operation: str
) -> None:
    for _ in range(5):
        with transaction():
            for member in (cast.admin, cast.manager):
                user = db.session.get_one(User, member.id)
                user.role, user.deactivated_at = Role.ADMIN, None

        def remove(user_id: int) -> bool:
            try:
                with transaction():
                    if operation == "deactivate":
                        lifecycle.deactivate_user(user_id, **by_system())
                    else:
                        lifecycle.change_role(user_id, role=Role.MANAGER, **by_system())
            except LastAdministrator:
                return False
            return True

        pair = (cast.admin.id, cast.manager.id)
        assert sorted(in_threads(app, [partial(remove, one) for one in pair])) == [False, True]


def by_system() -> dict[str, Any]:
    return {"actor": SYSTEM, "reach": EVERYTHING, "now": datetime.now(UTC)}


def prepare(operation: str, user_id: int) -> None:
    """Make the account one that the operation would change."""
    with transaction():
        user = db.session.get_one(User, user_id)
        user.deactivated_at = datetime.now(UTC) if operation == "reactivate" else None
        user.password_hash = "x" if operation == "reset" else None


def assert_unchanged_by(
    send: Callable[[], int], app: APIFlask, user_id: int, *, status: int
) -> None:
    """Send while an administrator promotes the account; it is refused and changes nothing."""
    before = state_of(user_id)

    def promote() -> None:
        lifecycle.change_role(user_id, role=Role.ADMIN, **by_system())

    assert while_it_waits(app, promote, send) == status
    assert state_of(user_id) == {**before, "role": "admin"}


def state_of(user_id: int) -> dict[str, Any]:
    """Return what the requests of these tests would change; promoting revokes the keys anyhow."""
    db.session.rollback()
    user = db.session.execute(select(User.__table__).where(User.id == user_id)).mappings().one()
    counts = {
        table.__tablename__: db.session.scalar(
            select(func.count()).select_from(table).where(table.user_id == user_id)
        )
        for table in (OneTimeLink, ApiKey)
    }
    db.session.rollback()
    return {**user, **counts}


def while_it_waits(app: APIFlask, change: Callable[[], None], act: Callable[[], T]) -> T:
    """Act while a change is not yet committed; commit it once the act waits for its lock.

    SQLite has one writer: there the act waits for the whole transaction, unseen.
    """

    def run() -> T:
        with app.app_context():
            return act()

    with ThreadPoolExecutor(1) as threads:
        with transaction():
            change()
            db.session.flush()
            waiting = threads.submit(run)
            if db.engine.name == "postgresql":
                eventually(lambda: waiting.done() or is_waited_for(), "nothing waits")
                assert not waiting.done(), f"did not wait: {outcome(waiting)}"
        return waiting.result(timeout=PATIENCE)


def is_waited_for() -> bool:
    """Tell whether another connection waits for a lock of this transaction."""
    query = text(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY"
        " (pg_blocking_pids(pid)))"
    )
    return bool(db.session.scalar(query))


def outcome(done: Future[T]) -> object:
    return done.exception() or done.result()
