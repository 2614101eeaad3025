"""Settings: a second factor is set up, gets new recovery codes, is switched off, is reset."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import fromstring

import pytest
from apiflask import APIFlask
from pydantic import SecretStr
from sqlalchemy import select, update

from billtrack.accounts.sign_in.second_factor_secrets import as_text, unseal
from billtrack.accounts.sign_in.throttle import MOST_HERE
from billtrack.accounts.users.models import RecoveryCode, SecondFactor, User, UserSession
from billtrack.accounts.users.permissions import Role
from billtrack.entrypoints.app import create_app
from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.accounts.sign_in.telephone import Telephone, switch_on
from tests.cast import PASSWORD, Cast, Member, create_user
from tests.dashboard.page import Page, Visitor, count, text_of
from tests.notifications.mail.mailbox import deliver, text_in

pytestmark = pytest.mark.one_database

PAGE = "/settings/second-factor"
CONFIRM, CODES, OFF, DRAWING = (
    f"{PAGE}/{name}" for name in ("confirm", "recovery-codes", "off", "code.svg")
)
WRONG = "wrong horse battery staple"


@pytest.fixture
def ada(app: APIFlask) -> User:
    return create_user(role=Role.MANAGER, email="ada@test.example", password=PASSWORD)


@pytest.fixture
def visitor(app: APIFlask, ada: User) -> Visitor:
    return Visitor(app, Member(ada, ""))


def propose(visitor: Visitor, password: str = PASSWORD) -> Page:
    return visitor.send(visitor.open(PAGE), PAGE, {"current_password": password})


def set_up(visitor: Visitor) -> tuple[Page, Telephone]:
    """Return the page that shows the secret, and a telephone that has read it."""
    page = visitor.follow(propose(visitor))
    secret = text_of(page.find("code", class_="secret")).replace(" ", "")
    return page, Telephone(secret)


def prove(visitor: Visitor, to: str, code: str, password: str = PASSWORD) -> Page:
    page = visitor.open(PAGE)
    data = {**page.values(CODES), "current_password": password, "code": code}
    return visitor.request("POST", to, data=data)


def codes_on(page: Page) -> list[str]:
    return re.findall(r"\b[a-z0-9]{4}(?:-[a-z0-9]{4}){3}\b", page.text)


def state() -> tuple[bool, int, int]:
    """Return whether a factor is on, and how many rows it and its recovery codes have."""
    db.session.rollback()
    factors = db.session.scalars(select(SecondFactor)).all()
    is_on = any(factor.confirmed_at for factor in factors)
    return is_on, len(factors), db.session.query(RecoveryCode).count()


def entries() -> dict[str, tuple[int | None, int | None]]:
    """Return who did what to whom with second factors."""
    db.session.rollback()
    query = select(AuditEntry).where(AuditEntry.action.like("second_factor.%"))
    found = db.session.scalars(query)
    return {entry.action[14:]: (entry.actor_user_id, entry.object_id) for entry in found}


def test_it_is_set_up_with_a_code_and_shows_recovery_codes_once(
    app: APIFlask, ada: User, visitor: Visitor
) -> None:
    other = Visitor(app, Member(ada, ""))
    assert "Your password alone opens the account." in visitor.open("/settings/profile").text
    page, telephone = set_up(visitor)
    assert page.find("img").get("src") == DRAWING
    assert state() == (False, 1, 0)
    before = visitor.cookie
    done = visitor.send(page, CONFIRM, {"code": telephone.code()})
    codes = codes_on(done)
    assert len(set(codes)) == 10
    assert done.answer.headers["Cache-Control"] == "no-store"
    assert state() == (True, 1, 10)
    # Who had the password alone is out, and so is whoever had this cookie.
    assert visitor.cookie != before
    assert visitor.request("GET", "/usage").status == 200
    assert other.request("GET", "/usage").status == 303
    again = visitor.open(PAGE)
    assert "10 recovery codes left" in again.text
    assert codes_on(again) == []
    assert telephone.text not in again.source.replace(" ", "")
    assert visitor.request("GET", DRAWING).status == 404
    assert "Signing in takes a code." in visitor.open("/settings/profile").text
    assert entries() == {"switched_on": (ada.id, ada.id)}
    (letter,) = deliver(app)
    assert "A second factor was switched on." in text_in(letter)


def test_the_code_that_confirmed_it_signs_nobody_in(
    app: APIFlask, ada: User, visitor: Visitor
) -> None:
    page, telephone = set_up(visitor)
    code = telephone.code()
    visitor.send(page, CONFIRM, {"code": code})
    thief = Visitor(app)
    typed = {"email": ada.email, "password": PASSWORD}
    half = thief.follow(thief.send(thief.open("/sign-in"), "/sign-in", typed))
    assert thief.send(half, "/sign-in/code", {"code": code}).status == 401


def test_the_picture_is_a_file_that_the_policy_allows(visitor: Visitor) -> None:
    assert visitor.request("GET", DRAWING).status == 404
    set_up(visitor)
    answer = visitor.request("GET", DRAWING).answer
    assert (answer.status_code, answer.mimetype) == (200, "image/svg+xml")
    assert answer.headers["Cache-Control"] == "no-store"
    svg = fromstring(answer.data)
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert b"style" not in answer.data


def test_it_lies_encrypted_in_the_database(ada: User, visitor: Visitor) -> None:
    page, telephone = set_up(visitor)
    codes = codes_on(visitor.send(page, CONFIRM, {"code": telephone.code()}))
    factor = db.session.scalars(select(SecondFactor)).one()
    secret = unseal(factor.sealed_secret, user_id=ada.id)
    assert secret is not None
    assert as_text(secret) == telephone.text
    with db.engine.connect() as connection:
        for table in db.metadata.sorted_tables:
            rows = str(connection.execute(table.select()).all())
            for text in (telephone.text, repr(secret)[2:-1], *codes):
                assert text not in rows, table.name


def test_it_asks_for_the_password_first(ada: User, visitor: Visitor) -> None:
    page = propose(visitor, WRONG)
    assert (page.status, page.error(PAGE, "current_password")) == (
        422,
        "This is not your current password.",
    )
    assert propose(visitor, "").error(PAGE, "current_password") == "Write your current password."
    assert state() == (False, 0, 0)
    for _ in range(MOST_HERE - 1):
        propose(visitor, WRONG)
    assert propose(visitor).status == 429


def test_it_is_not_on_before_a_code_was_right(app: APIFlask, ada: User, visitor: Visitor) -> None:
    first, telephone = set_up(visitor)
    second = visitor.send(first, f"{PAGE}/cancel")
    assert second.location == "/settings/profile"
    assert visitor.send(first, CONFIRM, {"code": telephone.code()}).location == PAGE
    page, newer = set_up(visitor)
    for code in ("000000", telephone.code(), newer.code(later=9)):
        answer = visitor.send(page, CONFIRM, {"code": code})
        assert answer.status == 422
        assert answer.error(CONFIRM, "code") is not None
    typed = {"email": ada.email, "password": PASSWORD}
    other = Visitor(app)
    assert other.send(other.open("/sign-in"), "/sign-in", typed).location == "/"
    assert state() == (False, 1, 0)


def test_what_was_proposed_is_forgotten_after_a_while(visitor: Visitor) -> None:
    page, telephone = set_up(visitor)
    past = datetime.now(UTC) - timedelta(minutes=15)
    with transaction() as session:
        session.execute(update(SecondFactor).values(created_at=past))
    assert visitor.send(page, CONFIRM, {"code": telephone.code()}).location == PAGE
    assert visitor.request("GET", DRAWING).status == 404
    assert "Current password" in visitor.open(PAGE).text


def test_one_that_is_on_is_not_replaced_nor_cancelled(ada: User, visitor: Visitor) -> None:
    begin, confirm = visitor.open(PAGE), set_up(visitor)[0]
    telephone = switch_on(ada)
    assert visitor.send(begin, PAGE, {"current_password": PASSWORD}).location == PAGE
    visitor.send(confirm, f"{PAGE}/cancel")
    assert visitor.send(confirm, CONFIRM, {"code": telephone.code()}).location == PAGE
    assert state() == (True, 1, 0)


def test_new_recovery_codes_take_password_and_code(
    app: APIFlask, ada: User, visitor: Visitor
) -> None:
    used = switch_on(ada).code()
    first = codes_on(prove(visitor, CODES, used))
    assert len(first) == 10
    for code, password, field in (
        (used, PASSWORD, "code"),
        (first[0], WRONG, "current_password"),
        ("", PASSWORD, "code"),
    ):
        page = prove(visitor, CODES, code, password)
        assert page.status == 422
        assert page.error(CODES, field) is not None
    second = codes_on(prove(visitor, CODES, first[0]))
    assert len(set(first + second)) == 20
    assert prove(visitor, CODES, first[1]).status == 422
    assert state() == (True, 1, 10)
    assert entries()["recovery_codes_made"] == (ada.id, ada.id)
    assert "New recovery codes were made." in text_in(deliver(app)[-1])


def test_it_says_when_few_recovery_codes_are_left(ada: User, visitor: Visitor) -> None:
    telephone = switch_on(ada)
    prove(visitor, CODES, telephone.code())
    with transaction() as session:
        kept = select(RecoveryCode.id).order_by(RecoveryCode.id).limit(9)
        used = update(RecoveryCode).where(RecoveryCode.id.in_(kept))
        session.execute(used.values(used_at=datetime.now(UTC)))
    assert "You have 1 recovery code left." in visitor.open(PAGE).text


def test_switching_off_takes_password_and_code(app: APIFlask, ada: User, visitor: Visitor) -> None:
    telephone = switch_on(ada)
    assert prove(visitor, OFF, telephone.code(), WRONG).status == 422
    assert prove(visitor, OFF, "000000").status == 422
    assert state() == (True, 1, 0)
    answer = prove(visitor, OFF, telephone.code())
    assert visitor.follow(answer).alerts == [
        "Two-factor authentication is off. Your password alone signs you in now."
    ]
    assert state() == (False, 0, 0)
    assert entries()["switched_off"] == (ada.id, ada.id)
    assert entries()["wrong_code"] == (ada.id, ada.id)
    assert "The second factor was switched off." in text_in(deliver(app)[-1])


def test_guessing_from_a_session_is_paused(ada: User, visitor: Visitor) -> None:
    switch_on(ada)
    found = [prove(visitor, OFF, "000000").status for _ in range(MOST_HERE + 1)]
    assert found == [422] * MOST_HERE + [429]
    assert state() == (True, 1, 0)


def test_an_administrator_resets_that_of_somebody_else(
    app: APIFlask, cast: Cast, ada: User, visitor: Visitor
) -> None:
    switch_on(ada)
    admin = Visitor(app, cast.admin)
    reset = f"/settings/accounts/{ada.id}/second-factor/reset"
    page = admin.open(f"/settings/accounts/{ada.id}")
    answer = admin.follow(admin.send(page, reset))
    assert answer.alerts == ["Two-factor authentication is reset. The owner is told by e-mail."]
    assert state() == (False, 0, 0)
    assert entries()["reset"] == (cast.admin.id, ada.id)
    (letter,) = deliver(app)
    assert letter["To"] == "ada <ada@test.example>"
    assert "An administrator has reset the second factor." in text_in(letter)
    again = admin.follow(admin.send(page, reset))
    assert again.alerts == ["This account has no second factor."]


def test_nobody_else_resets_one(app: APIFlask, cast: Cast, ada: User, visitor: Visitor) -> None:
    for user in (cast.customer.user, cast.admin.user, ada):
        switch_on(user)
    for who, user in (
        (cast.manager, cast.customer.user),  # may change the account, and not this
        (cast.admin, cast.admin.user),  # takes password and code
        (cast.customer, ada),
        (cast.provider, cast.customer.user),
    ):
        visitor = Visitor(app, who)
        token = visitor.open("/usage").values("/sign-out")["csrf_token"]
        path = f"/settings/accounts/{user.id}/second-factor/reset"
        assert visitor.request("POST", path, data={"csrf_token": token}).status == 403
    assert count(SecondFactor) == 3
    page = Visitor(app, cast.manager).open(f"/settings/accounts/{cast.customer.id}")
    assert "An administrator can reset it." in page.text


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_with_another_secret_key_recovery_codes_go_on_working(
    app: APIFlask, settings: Settings, ada: User, visitor: Visitor
) -> None:
    telephone = switch_on(ada)
    code = codes_on(prove(visitor, CODES, telephone.code()))[0]
    new = "the-N3w-key-of-this-1nstallation-y"
    changed = create_app(settings.model_copy(update={"secret_key": SecretStr(new)}))
    for secret, status, words in ((telephone.code(later=1), 401, "secret key"), (code, 303, "")):
        other = Visitor(changed)
        typed = {"email": ada.email, "password": PASSWORD}
        page = other.follow(other.send(other.open("/sign-in"), "/sign-in", typed))
        answer = other.send(page, "/sign-in/code", {"code": secret})
        assert answer.status == status
        assert words in answer.source
    assert db.session.scalar(select(UserSession.id).order_by(UserSession.id.desc()))


def test_no_log_holds_secret_or_code(visitor: Visitor, logged: Callable[[], str]) -> None:
    page, telephone = set_up(visitor)
    visitor.request("GET", DRAWING)
    code = telephone.code()
    codes = codes_on(visitor.send(page, CONFIRM, {"code": code}))
    said = logged()
    assert CONFIRM in said
    for text in (telephone.text, f"code={code}", f'"{code}"', *codes):
        assert text not in said
