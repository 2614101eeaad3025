"""Programs that sign in with a password send the code of the second factor, too."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from apiflask import APIFlask
from werkzeug.test import TestResponse

from billtrack.accounts.sign_in import recovery_codes
from billtrack.accounts.sign_in.throttle import MOST_HERE
from billtrack.accounts.users.models import TokenFamily, User
from billtrack.accounts.users.permissions import Role
from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.accounts.sign_in.telephone import Telephone, switch_on
from tests.cast import PASSWORD, create_user

pytestmark = pytest.mark.one_database


@pytest.fixture
def user(app: APIFlask) -> User:
    return create_user(role=Role.PROVIDER, email="clock@test.example", password=PASSWORD)


@pytest.fixture
def telephone(user: User) -> Telephone:
    return switch_on(user)


def ask(app: APIFlask, otp: object = None, **changes: Any) -> TestResponse:
    body = {"email": "clock@test.example", "password": PASSWORD, **changes}
    if otp is not None:
        body["otp"] = otp
    with app.app_context():
        return app.test_client(use_cookies=False).post("/api/v1/auth/token", json=body)


def told(answer: TestResponse) -> tuple[int, str]:
    return answer.status_code, answer.get_json().get("code", "")


def test_it_takes_password_and_code(app: APIFlask, user: User, telephone: Telephone) -> None:
    assert told(ask(app)) == (401, "otp_required")
    assert told(ask(app, "000000")) == (401, "otp_refused")
    code = telephone.code()
    token = ask(app, code).get_json()["access_token"]
    headers = {"Authorization": f"Bearer {token}"}
    with app.app_context():
        me = app.test_client(use_cookies=False).get("/api/v1/me", headers=headers)
    assert me.get_json()["id"] == user.id
    assert told(ask(app, code)) == (401, "otp_refused")
    db.session.rollback()
    issued = db.session.query(AuditEntry).filter_by(action="token.issued").one()
    assert issued.changes["second_factor"] == "code"
    wrong = db.session.query(AuditEntry).filter_by(action="second_factor.wrong_code")
    assert wrong.count() == 2


def test_it_takes_a_recovery_code_once(app: APIFlask, user: User, telephone: Telephone) -> None:
    with transaction():
        code = recovery_codes.make_recovery_codes(user.id, now=datetime.now(UTC))[0]
    assert ask(app, code).status_code == 200
    assert told(ask(app, code)) == (401, "otp_refused")


def test_a_code_is_nothing_without_the_password(
    app: APIFlask, user: User, telephone: Telephone
) -> None:
    assert told(ask(app, telephone.code(), password="wrong horse")) == (401, "sign_in_refused")
    assert ask(app, telephone.code()).status_code == 200


def test_guessing_is_paused(app: APIFlask, user: User, telephone: Telephone) -> None:
    found = [ask(app, "000000").status_code for _ in range(MOST_HERE)]
    assert found == [401, 401, 429, 429, 429]  # the password and the code are a try each
    assert ask(app, telephone.code()).status_code == 429
    assert db.session.query(TokenFamily).count() == 0


def test_who_has_no_second_factor_may_send_one_all_the_same(app: APIFlask, user: User) -> None:
    assert ask(app, "123456").status_code == 200


@pytest.mark.parametrize("otp", [123456, "1" * 41, "\0", ["123456"]])
def test_it_refuses_what_is_no_text(app: APIFlask, user: User, otp: object) -> None:
    assert ask(app, otp).status_code == 422
