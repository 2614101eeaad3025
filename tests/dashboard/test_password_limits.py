"""How often passwords may be set, and tried at the forms that ask for the current one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from apiflask import APIFlask
from sqlalchemy import update

from billtrack.accounts.sign_in.throttle import MOST_HERE, MOST_PASSWORDS, NewPassword
from billtrack.accounts.users.models import SignInTry, User
from billtrack.accounts.users.password_strength import is_guessable
from billtrack.accounts.users.permissions import Role
from billtrack.dashboard.settings.forms import CurrentPasswordForm
from billtrack.platform.db import transaction
from tests.accounts.sign_in.telephone import switch_on
from tests.cast import PASSWORD, Cast, create_user
from tests.dashboard.page import Page, Visitor
from tests.dashboard.settings.test_two_factor import prove
from tests.dashboard.sign_in.test_recovery import choose, reset_link

pytestmark = pytest.mark.one_database

SETTINGS = "/settings/profile"
FACTOR = "/settings/second-factor"
WEAK = "passwordpassword"
WRONG = "wrong horse battery staple"
SOON = "Too many tries. Try again in 15 minutes."


@pytest.fixture
def ada(app: APIFlask) -> User:
    return create_user(role=Role.MANAGER, email="ada@test.example", password=PASSWORD)


@pytest.fixture
def visitor(app: APIFlask, ada: User) -> Visitor:
    return sign_in(Visitor(app))


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Collect the passwords that are judged."""
    seen: list[str] = []

    def listen(password: str, *, about: tuple[str, ...]) -> bool:
        seen.append(password)
        return is_guessable(password, about=about)

    monkeypatch.setattr("billtrack.accounts.users.passwords.is_guessable", listen)
    return seen


def sign_in(visitor: Visitor, password: str = PASSWORD) -> Visitor:
    typed = {"email": "ada@test.example", "password": password}
    assert visitor.send(visitor.open("/sign-in"), "/sign-in", typed).status == 303
    return visitor


def change(visitor: Visitor, current: str, new: str) -> Page:
    typed = {"current_password": current, "password": new, "password_again": new}
    return visitor.send(visitor.open(SETTINGS), "/settings/password", typed)


def pass_window() -> None:
    with transaction() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        session.execute(update(SignInTry).values(ends_at=past))


def test_it_bounds_changes_taken_or_not(visitor: Visitor, hashed: list[str]) -> None:
    most = MOST_PASSWORDS[NewPassword.CHANGE]
    current = PASSWORD
    for number in range(most):
        if number % 2:
            assert change(visitor, current, WEAK).status == 422
        else:
            new = f"another horse, battery {number}"
            assert change(visitor, current, new).status == 303
            current = new
    assert len(hashed) == most
    page = change(visitor, current, "one more horse and battery")
    assert (page.status, page.alerts) == (429, [SOON])
    assert 0 < int(page.answer.headers["Retry-After"]) <= 15 * 60
    assert len(hashed) == most
    pass_window()
    assert change(visitor, current, "one more horse and battery").status == 303


def test_a_refused_password_is_no_wrong_sign_in(visitor: Visitor) -> None:
    for _ in range(MOST_HERE + 1):
        assert change(visitor, PASSWORD, WEAK).status == 422
    sign_in(Visitor(visitor.app))


def test_another_account_may_go_on(app: APIFlask, visitor: Visitor) -> None:
    for _ in range(MOST_PASSWORDS[NewPassword.CHANGE] + 1):
        last = change(visitor, PASSWORD, WEAK)
    assert last.status == 429
    create_user(email="bea@test.example", password=PASSWORD)
    bea = Visitor(app)
    typed = {"email": "bea@test.example", "password": PASSWORD}
    bea.send(bea.open("/sign-in"), "/sign-in", typed)
    assert change(bea, PASSWORD, "another horse, battery").status == 303


@pytest.mark.parametrize("form", ["change", "set up", "recovery-codes", "off"])
def test_every_form_counts_a_wrong_password_as_a_wrong_sign_in(
    visitor: Visitor, ada: User, form: str
) -> None:
    if form in {"recovery-codes", "off"}:
        code = switch_on(ada).code()

    def guess(password: str) -> Page:
        if form == "change":
            return change(visitor, password, "another horse, battery")
        if form == "set up":
            return visitor.send(visitor.open(FACTOR), FACTOR, {"current_password": password})
        return prove(visitor, f"{FACTOR}/{form}", code, password)

    for _ in range(MOST_HERE):
        page = guess(WRONG)
        assert page.status == 422
        assert "This is not your current password." in page.text
    for password in (WRONG, PASSWORD):
        page = guess(password)
        assert (page.status, page.alerts) == (429, [SOON])
        assert int(page.answer.headers["Retry-After"]) > 0
    elsewhere = Visitor(visitor.app)
    typed = {"email": "ada@test.example", "password": PASSWORD}
    assert elsewhere.send(elsewhere.open("/sign-in"), "/sign-in", typed).status == 429


def test_these_are_all_forms_that_ask_for_it(app: APIFlask) -> None:
    names = {form.__name__ for form in CurrentPasswordForm.__subclasses__()}
    assert names == {"PasswordForm", "PasswordAndCodeForm"}


def test_it_bounds_what_a_link_may_try(app: APIFlask, ada: User, hashed: list[str]) -> None:
    link = reset_link(app)
    visitor = Visitor(app)
    most = MOST_PASSWORDS[NewPassword.LINK]
    page = visitor.open(link)
    for _ in range(most):
        page = choose(visitor, page, WEAK)
        assert page.status == 422
    page = choose(visitor, page)
    assert (page.status, page.alerts) == (429, [SOON])
    assert int(page.answer.headers["Retry-After"]) > 0
    assert len(hashed) == most
    pass_window()
    assert choose(visitor, page).status == 303


def test_a_link_that_is_used_is_refused_before_the_password(
    app: APIFlask, ada: User, hashed: list[str]
) -> None:
    visitor = Visitor(app)
    page = visitor.open(reset_link(app))
    assert choose(visitor, page).status == 303
    hashed.clear()
    assert choose(visitor, page, WEAK).status == 404
    assert hashed == []


def test_it_bounds_passwords_of_new_accounts(
    cast: Cast, hashed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MOST_PASSWORDS, NewPassword.NEW_ACCOUNT, 2)

    def create(number: int, password: str | None) -> tuple[int, str | None]:
        body = {"email": f"u{number}@test.example", "name": "U", "password": password}
        answer = cast.admin.post("/api/v1/users", body)
        return answer.status_code, answer.headers.get("Retry-After")

    assert [create(1, WEAK)[0], create(2, PASSWORD)[0]] == [422, 201]
    status, retry_after = create(3, PASSWORD)
    assert (status, len(hashed)) == (429, 2)
    assert 0 < int(retry_after or 0) <= 15 * 60
    assert create(4, None)[0] == 201
