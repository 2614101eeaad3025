"""Signing in with a second factor: what a code opens, and what half a sign-in does not."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from apiflask import APIFlask
from sqlalchemy import select, update

from billtrack.accounts.access import PERMISSION_ATTRIBUTE, PUBLIC
from billtrack.accounts.sign_in import recovery_codes
from billtrack.accounts.sign_in.pending_sign_ins import begin_sign_in
from billtrack.accounts.sign_in.throttle import MOST_CODES, MOST_HERE
from billtrack.accounts.users.models import PendingSignIn, RecoveryCode, User, UserSession
from billtrack.accounts.users.permissions import Role
from billtrack.dashboard.sign_in.views import PENDING_COOKIE_KEY
from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.accounts.sign_in.telephone import Telephone, switch_on
from tests.cast import PASSWORD, Cast, create_user
from tests.dashboard.page import Page, Visitor, count
from tests.notifications.mail.mailbox import deliver, link_in, text_in
from tests.usage.racing import in_threads

pytestmark = pytest.mark.one_database

CODE = "/sign-in/code"
WRONG = "This code is wrong or was used before. Take the next one."


@pytest.fixture
def ada(app: APIFlask) -> User:
    return create_user(role=Role.ADMIN, email="ada@test.example", password=PASSWORD)


@pytest.fixture
def telephone(ada: User) -> Telephone:
    return switch_on(ada)


def give_password(visitor: Visitor, *, next_: str = "", **options: object) -> Page:
    page = visitor.open("/sign-in" + (f"?next={next_}" if next_ else ""))
    typed = {"email": "ada@test.example", "password": PASSWORD}
    return visitor.send(page, "/sign-in", typed, **options)


def half(app: APIFlask, *, next_: str = "", **options: object) -> tuple[Visitor, Page]:
    """Return a visitor who has given the password, and the page that asks for the code."""
    visitor = Visitor(app)
    return visitor, visitor.follow(give_password(visitor, next_=next_, **options))


def planted_half(app: APIFlask, user: User) -> tuple[Visitor, Page]:
    """Return the same without a try that is counted."""
    with transaction():
        token = begin_sign_in(user.id, now=datetime.now(UTC))
    visitor = Visitor(app)
    with app.app_context(), visitor.client.session_transaction() as cookie:
        cookie[PENDING_COOKIE_KEY] = token
    return visitor, visitor.open(CODE)


def give_code(visitor: Visitor, page: Page, code: str, **options: object) -> Page:
    return visitor.send(page, CODE, {"code": code}, **options)


def make_codes(user: User) -> list[str]:
    with transaction():
        return list(recovery_codes.make_recovery_codes(user.id, now=datetime.now(UTC)))


def is_in(visitor: Visitor) -> bool:
    return visitor.request("GET", "/usage").status == 200


def actions() -> list[tuple[str, int | None, dict[str, object]]]:
    db.session.rollback()
    query = select(AuditEntry.action, AuditEntry.object_id, AuditEntry.changes)
    return [tuple(row) for row in db.session.execute(query.order_by(AuditEntry.id))]


def test_it_lets_in_by_password_and_code(app: APIFlask, ada: User, telephone: Telephone) -> None:
    visitor, page = half(app, next_="/usage")
    assert page.heading == "Write the code"
    assert not is_in(visitor)
    before = visitor.cookie
    answer = give_code(visitor, page, telephone.code())
    assert answer.location == "/usage"
    assert visitor.cookie != before
    assert is_in(visitor)
    assert count(PendingSignIn) == 0
    assert ("session.started", ada.id, {"second_factor": "code"}) in actions()


def test_an_account_without_one_is_not_asked(app: APIFlask, ada: User) -> None:
    assert give_password(Visitor(app)).location == "/"


def test_a_wrong_code_says_so_and_is_noted(app: APIFlask, ada: User, telephone: Telephone) -> None:
    visitor, page = half(app)
    for code in ("000000", telephone.code(later=3), "not-a-code", "１２３４５６"):
        if code == telephone.code():
            continue
        answer = give_code(visitor, page, code)
        assert (answer.status, answer.error(CODE, "code")) == (401, WRONG)
        assert answer.values(CODE)["code"] == ""
    assert not is_in(visitor)
    assert ("second_factor.wrong_code", ada.id, {}) in actions()
    for code, error in (("", "Write the code."), ("1" * 41, "Write at most 40 characters.")):
        answer = give_code(visitor, page, code)
        assert (answer.status, answer.error(CODE, "code")) == (422, error)


def test_a_code_works_once(app: APIFlask, ada: User, telephone: Telephone) -> None:
    code, next_code = telephone.code(), telephone.code(later=1)
    assert give_code(*half(app), code).status == 303
    visitor, page = half(app)
    assert give_code(visitor, page, code).status == 401
    assert not is_in(visitor)
    assert give_code(visitor, page, next_code).status == 303
    assert give_code(*half(app), code).status == 401


def test_codes_of_the_secret_before_are_worthless(
    app: APIFlask, ada: User, telephone: Telephone
) -> None:
    switch_on(ada)
    assert give_code(*half(app), telephone.code()).status == 401


def test_codes_of_somebody_else_are_worthless(
    app: APIFlask, ada: User, telephone: Telephone
) -> None:
    eve = create_user(email="eve@test.example", password=PASSWORD)
    stranger, codes = switch_on(eve), make_codes(eve)
    visitor, page = half(app)
    for code in (stranger.code(), codes[0]):
        assert give_code(visitor, page, code).status == 401


def test_half_a_sign_in_opens_no_page_and_no_api(
    app: APIFlask, cast: Cast, ada: User, telephone: Telephone
) -> None:
    visitor, page = half(app)
    token = page.values(CODE)["csrf_token"]
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if rule.endpoint == "static" or getattr(view, PERMISSION_ATTRIBUTE) == PUBLIC:
            continue
        path = re.sub(r"<[^>]*>", "1", rule.rule.replace("<any(csv, xlsx):extension>", "csv"))
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
            headers = {"X-CSRFToken": token}
            with app.app_context():
                answer = visitor.client.open(path, method=method, headers=headers)
            if path.startswith("/api/"):
                assert answer.status_code == 401, (method, path)
            else:
                assert answer.status_code == 303, (method, path)
                assert answer.headers["Location"].startswith("/sign-in"), path
    assert count(UserSession) == 0


def test_its_secret_is_worth_nothing_as_a_session(
    app: APIFlask, ada: User, telephone: Telephone
) -> None:
    visitor, _ = half(app)
    with app.app_context(), visitor.client.session_transaction() as cookie:
        secret = cookie["half"]
    stored = db.session.scalars(select(PendingSignIn)).one()
    assert secret != stored.token_hash
    thief = Visitor(app)
    thief.plant(secret)
    assert not is_in(thief)


def test_it_ends_within_minutes(app: APIFlask, ada: User, telephone: Telephone) -> None:
    visitor, page = half(app, next_="/usage")
    left = db.session.scalars(select(PendingSignIn.expires_at)).one() - datetime.now(UTC)
    assert timedelta(minutes=4) < left <= timedelta(minutes=5)
    with transaction() as session:
        session.execute(update(PendingSignIn).values(expires_at=datetime.now(UTC)))
    answer = give_code(visitor, page, telephone.code())
    assert answer.location == "/sign-in?next=/usage"
    assert visitor.follow(answer).alerts == ["That took too long. Sign in once more."]
    assert not is_in(visitor)


def test_it_takes_no_cookie_that_it_did_not_make(app: APIFlask, ada: User) -> None:
    visitor = Visitor(app)
    assert visitor.request("GET", CODE).location == "/sign-in"
    for value in (None, 1, ["x"], "unknown"):
        with app.app_context(), visitor.client.session_transaction() as cookie:
            cookie["half"] = value
        assert visitor.request("GET", CODE).location == "/sign-in"


def test_another_password_ends_half_sign_ins_and_not_the_factor(
    app: APIFlask, ada: User, telephone: Telephone
) -> None:
    thief, page = half(app)
    visitor = Visitor(app)
    visitor.send(visitor.open("/forgot-password"), "/forgot-password", {"email": ada.email})
    form = visitor.open(link_in(deliver(app)[-1]))
    new = {"password": "another horse, another battery"}
    visitor.send(form, "/choose-password", {**new, "password_again": new["password"]})
    assert give_code(thief, page, telephone.code()).location == "/sign-in"
    typed = {"email": ada.email, **new}
    answer = visitor.send(visitor.open("/sign-in"), "/sign-in", typed)
    assert answer.location == CODE
    assert not is_in(visitor)
    assert give_code(visitor, visitor.follow(answer), telephone.code()).status == 303


def test_a_deactivated_account_goes_no_further(
    app: APIFlask, ada: User, telephone: Telephone
) -> None:
    visitor, page = half(app)
    with transaction() as session:
        session.get_one(User, ada.id).deactivated_at = datetime.now(UTC)
    assert give_code(visitor, page, telephone.code()).location == "/sign-in"
    assert count(UserSession) == 0


def test_guessing_is_paused_together_with_passwords(
    app: APIFlask, ada: User, telephone: Telephone
) -> None:
    visitor, page = half(app)
    for _ in range(MOST_HERE - 1):
        assert give_code(visitor, page, "000000").status == 401
    refused = give_code(visitor, page, telephone.code())
    assert (refused.status, refused.alerts) == (429, ["Too many tries. Try again in 15 minutes."])
    assert 0 < int(refused.answer.headers["Retry-After"]) <= 900
    # The password again, to begin anew, gets no further: knowing it takes back no try.
    assert give_password(Visitor(app)).status == 429


def test_guessing_from_many_addresses_is_paused_at_the_account(
    app: APIFlask, ada: User, telephone: Telephone
) -> None:
    visitor, page = half(app)
    found = []
    for number in range(MOST_CODES + 1):
        address = {"REMOTE_ADDR": f"192.0.2.{number}"}
        found.append(give_code(visitor, page, "000000", environ_base=address).status)
    assert found == [401] * MOST_CODES + [429]


def test_who_knows_both_is_never_paused(app: APIFlask, ada: User, telephone: Telephone) -> None:
    for code in [telephone.code(), telephone.code(later=1), *make_codes(ada)[:MOST_HERE]]:
        assert give_code(*half(app), code).status == 303


def test_a_recovery_code_works_once_and_a_letter_tells(
    app: APIFlask, ada: User, telephone: Telephone
) -> None:
    code = make_codes(ada)[0]
    visitor, page = half(app, next_="/usage")
    (link,) = [link for link in page.links if "recovery" in link]
    page = visitor.open(link)
    assert page.heading == "Write a recovery code"
    answer = give_code(visitor, page, f" {code.upper().replace('-', ' ')} ")
    assert answer.location == "/usage"
    assert ("second_factor.recovery_code_used", ada.id, {"left": 9}) in actions()
    assert "A recovery code was used" in text_in(deliver(app)[-1])
    again, page = half(app)
    assert give_code(again, page, code).status == 401
    assert not is_in(again)


@pytest.mark.by_chance
@pytest.mark.both_databases
def test_of_two_at_once_with_one_recovery_code_one_gets_in(
    app: APIFlask, ada: User, telephone: Telephone
) -> None:
    code = make_codes(ada)[0]
    visitors = [planted_half(app, ada) for _ in range(3)]
    db.session.rollback()
    answers = in_threads(app, [partial(give_code, *one, code) for one in visitors])
    assert sorted(answer.status for answer in answers) == [303, 401, 401]
    assert count(UserSession) == 1
    assert db.session.query(RecoveryCode).filter(RecoveryCode.used_at.is_not(None)).count() == 1


@pytest.mark.by_chance
@pytest.mark.both_databases
def test_of_two_at_once_with_one_code_one_gets_in(
    app: APIFlask, ada: User, telephone: Telephone
) -> None:
    code = telephone.code()
    visitors = [planted_half(app, ada) for _ in range(3)]
    db.session.rollback()
    answers = in_threads(app, [partial(give_code, *one, code) for one in visitors])
    assert sorted(answer.status for answer in answers) == [303, 401, 401]
    assert count(UserSession) == 1
