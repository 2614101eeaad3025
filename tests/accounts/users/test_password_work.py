"""No transaction is open while a password is judged, hashed or verified, whatever the way in."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from apiflask import APIFlask
from click.testing import CliRunner

import billtrack
from billtrack.accounts.users import password_strength, passwords
from billtrack.accounts.users.links import Purpose, send_link
from billtrack.accounts.users.models import User
from billtrack.accounts.users.passwords import hash_password, verify_password
from billtrack.accounts.users.permissions import Role
from billtrack.core.errors import InvalidError
from billtrack.entrypoints.cli.accounts import create_admin, create_user
from billtrack.entrypoints.setup.demo import load_demo
from billtrack.entrypoints.setup.initialise import setup_link
from billtrack.platform.db import transaction
from billtrack.platform.engines import WRITES
from billtrack.platform.extensions import db
from tests import cast as actors
from tests.cast import PASSWORD, SYSTEM, Cast
from tests.dashboard.page import Visitor
from tests.notifications.mail.mailbox import deliver, link_in

NEW = "another horse, another battery"
PACKAGE = Path(billtrack.__file__).parent


class Work:
    """Stands where argon2 and zxcvbn are called; notes what the database session held then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.held: list[str] = []
        self._hasher = passwords._hasher
        monkeypatch.setattr(passwords, "_hasher", self)
        judge = password_strength.is_guessable
        monkeypatch.setattr(
            passwords,
            "is_guessable",
            lambda *given, **more: self._note("judge", judge, given, more),
        )

    def hash(self, *given: Any) -> Any:
        return self._note("hash", self._hasher.hash, given, {})

    def verify(self, *given: Any) -> Any:
        return self._note("verify", self._hasher.verify, given, {})

    def _note(self, kind: str, act: Callable[..., Any], given: Any, more: Any) -> Any:
        session = db.session()
        self.done.append(kind)
        if WRITES in session.info or session.in_transaction():
            self.held.append(kind)
        return act(*given, **more)


@pytest.fixture
def ada(app: APIFlask) -> User:
    return actors.create_user(role=Role.MANAGER, email="ada@test.example", password=PASSWORD)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Iterator[Work]:
    noted = Work(monkeypatch)
    yield noted
    assert noted.held == []


def signed_in(app: APIFlask, user: User) -> Visitor:
    visitor = Visitor(app)
    typed = {"email": user.email, "password": PASSWORD}
    assert visitor.send(visitor.open("/sign-in"), "/sign-in", typed).status == 303
    return visitor


def test_signing_in(app: APIFlask, ada: User, work: Work) -> None:
    signed_in(app, ada)
    body = {"email": "ada@test.example", "password": PASSWORD}
    assert app.test_client().post("/api/v1/auth/token", json=body).status_code == 200
    body["email"] = "nobody@test.example"
    assert app.test_client().post("/api/v1/auth/token", json=body).status_code == 401
    assert work.done.count("verify") == 3
    assert "judge" not in work.done


def test_changing_it(app: APIFlask, ada: User, work: Work) -> None:
    visitor = signed_in(app, ada)
    typed = {"current_password": PASSWORD, "password": NEW, "password_again": NEW}
    work.done.clear()
    page = visitor.open("/settings/profile")
    assert visitor.send(page, "/settings/password", typed).status == 303
    assert work.done == ["verify", "judge", "hash"]


def test_setting_a_second_factor_up(app: APIFlask, ada: User, work: Work) -> None:
    visitor, path = signed_in(app, ada), "/settings/second-factor"
    work.done.clear()
    answer = visitor.send(visitor.open(path), path, {"current_password": PASSWORD})
    assert "Set up" not in visitor.follow(answer).text
    assert work.done == ["verify"]


def test_a_link(app: APIFlask, ada: User, work: Work) -> None:
    with transaction():
        send_link(
            db.session.get_one(User, ada.id),
            purpose=Purpose.PASSWORD_RESET,
            actor=SYSTEM,
            now=datetime.now(UTC),
        )
    visitor = Visitor(app)
    page = visitor.open(link_in(deliver(app)[-1]))
    typed = {"password": NEW, "password_again": NEW}
    assert visitor.send(page, "/choose-password", typed).status == 303
    assert work.done == ["judge", "hash"]


def test_the_set_up_page(app: APIFlask, work: Work) -> None:
    settings = app.extensions["billtrack.settings"]
    link = setup_link(settings)
    assert link is not None
    visitor = Visitor(app)
    page = visitor.open(link.removeprefix(settings.public_url))
    typed = {"name": "Ada", "email": "ada@test.example"}
    typed |= {"password": PASSWORD, "password_again": PASSWORD}
    assert visitor.send(page, "/set-up", typed).status == 303
    assert work.done == ["judge", "hash"]


def test_an_account_by_api(cast: Cast, work: Work) -> None:
    body = {"email": "eve@test.example", "name": "Eve", "password": PASSWORD}
    assert cast.admin.post("/api/v1/users", body).status_code == 201
    assert work.done == ["judge", "hash"]


@pytest.mark.parametrize("command", [create_admin, create_user])
def test_a_command(
    app: APIFlask, work: Work, monkeypatch: pytest.MonkeyPatch, command: Any
) -> None:
    monkeypatch.setattr("billtrack.entrypoints.cli.accounts.create_app", lambda: app)
    arguments = ["--email", "eve@test.example", "--password-stdin"]
    arguments += ["--role", "manager"] if command is create_user else []
    result = CliRunner().invoke(command, arguments, input=f"{PASSWORD}\n")
    assert (result.exit_code, result.exception) == (0, None), result.output
    assert work.done == ["judge", "hash"]


def test_the_demo(app: APIFlask, work: Work) -> None:
    load_demo(app.extensions["billtrack.settings"], now=datetime.now(UTC))
    assert work.done == ["judge", "hash"] * 4


def test_inside_a_transaction_it_is_an_error(app: APIFlask) -> None:
    stored = hash_password(PASSWORD).text
    with transaction(), pytest.raises(RuntimeError, match="before transaction"):
        hash_password(PASSWORD)
    with transaction(), pytest.raises(RuntimeError, match="before transaction"):
        verify_password(stored, PASSWORD)


def test_nobody_else_calls_argon2_or_zxcvbn() -> None:
    found = {
        (path.relative_to(PACKAGE).as_posix(), name)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in imported(node)
        if name.partition(".")[0] in {"argon2", "zxcvbn"}
    }
    assert found == {
        ("accounts/users/passwords.py", "argon2"),
        ("accounts/users/passwords.py", "argon2.exceptions"),
        ("accounts/users/password_strength.py", "zxcvbn"),
    }


def imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [alias.name for alias in node.names] if isinstance(node, ast.Import) else []


@pytest.mark.parametrize("length", [257, 60_000])
def test_a_longer_password_than_any_costs_nothing(
    app: APIFlask, ada: User, work: Work, length: int
) -> None:
    assert ada.password_hash is not None
    assert not verify_password(ada.password_hash, "x" * length)
    with pytest.raises(InvalidError):
        hash_password("x" * length)
    body = {"email": "ada@test.example", "password": "x" * length}
    assert app.test_client().post("/api/v1/auth/token", json=body).status_code == 422
    visitor = Visitor(app)
    assert visitor.send(visitor.open("/sign-in"), "/sign-in", body).status == 422
    assert work.done == []
