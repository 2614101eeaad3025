"""A one-time link opens once, for a while, for one account; everything else alike does not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from apiflask import APIFlask
from sqlalchemy import select

from billtrack.accounts.lifecycle import deactivate_user
from billtrack.accounts.sign_in import password_recovery
from billtrack.accounts.sign_in.password_changes import change_password, verify_current_password
from billtrack.accounts.sign_in.password_recovery import NoPasswordToReset, NotToBeInvited
from billtrack.accounts.sign_in.sessions import list_sessions, start_session
from billtrack.accounts.users import links
from billtrack.accounts.users.links import (
    LIFETIME,
    MOST_AN_HOUR,
    LinkRefused,
    Purpose,
    TooManyLinks,
)
from billtrack.accounts.users.models import OneTimeLink, User, UserSession
from billtrack.accounts.users.operations import update_user
from billtrack.accounts.users.passwords import hash_password, verify_password
from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.notifications.mail.models import Letter
from billtrack.notifications.mail.secrets import secret_of
from billtrack.platform import audit
from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.cast import PASSWORD, SYSTEM, create_user
from tests.usage.racing import in_threads

pytestmark = pytest.mark.one_database

EVERYTHING = Reach(Breadth.ALL, 0)
NOW = datetime.now(UTC)
NEW = "another horse, another battery"


@pytest.fixture
def ada(app: APIFlask) -> User:
    return create_user(email="ada@test.example", password=PASSWORD)


def send(user: User, *, purpose: Purpose = Purpose.PASSWORD_RESET, now: datetime = NOW) -> str:
    """Send a link and return the secret in it."""
    with transaction():
        link = links.send_link(
            db.session.get_one(User, user.id), purpose=purpose, actor=SYSTEM, now=now
        )
        seed = db.session.get_one(Letter, link.letter_id).seed
    assert seed is not None
    return secret_of(seed)


def use(secret: str, password: str = NEW, *, now: datetime = NOW) -> int:
    hashed = hash_password(password)
    with transaction():
        return password_recovery.choose_password(secret, password=hashed, actor=SYSTEM, now=now).id


def fits(user: User, password: str) -> bool:
    db.session.rollback()
    return verify_password(db.session.get_one(User, user.id).password_hash, password)


def test_it_sets_the_password_once_and_signs_out_everywhere(ada: User) -> None:
    with transaction():
        start_session(ada, now=NOW, address=None, user_agent=None)
    secret = send(ada)
    assert use(secret) == ada.id
    assert fits(ada, NEW)
    assert list_sessions(ada.id, now=NOW) == []
    with pytest.raises(LinkRefused):
        use(secret, "yet another horse")
    assert fits(ada, NEW)
    entry = db.session.scalars(
        select(AuditEntry).where(AuditEntry.action == "user.password_changed")
    ).one()
    assert (entry.actor_user_id, entry.object_id) == (ada.id, ada.id)


def test_looking_changes_nothing(ada: User) -> None:
    secret = send(ada)
    for _ in range(3):
        owner = links.find_link_owner(secret, now=NOW)
        assert owner is not None
        assert owner.id == ada.id
    assert use(secret) == ada.id


@pytest.mark.parametrize("purpose", Purpose)
def test_it_expires(ada: User, purpose: Purpose) -> None:
    secret = send(ada, purpose=purpose)
    end = NOW + LIFETIME[purpose]
    assert links.find_link_owner(secret, now=end - timedelta(seconds=1)) is not None
    assert links.find_link_owner(secret, now=end) is None
    with pytest.raises(LinkRefused):
        use(secret, now=end)
    assert fits(ada, PASSWORD)


def again(user: User) -> None:
    send(user)


def another_password(user: User) -> None:
    verified, hashed = verify_current_password(user.id, PASSWORD), hash_password(NEW)
    with transaction():
        change_password(verified, session_id=None, password=hashed, actor=SYSTEM, now=NOW)


def another_address(user: User) -> None:
    with transaction():
        update_user(
            user.id, actor=SYSTEM, reach=EVERYTHING, now=NOW, name=None, email="b@test.example"
        )


def deactivated(user: User) -> None:
    with transaction():
        deactivate_user(user.id, actor=SYSTEM, reach=EVERYTHING, now=NOW)


@pytest.mark.parametrize("event", [again, another_password, another_address, deactivated])
def test_it_ends_unused(ada: User, event: Callable[[User], None]) -> None:
    secret = send(ada)
    event(ada)
    with pytest.raises(LinkRefused):
        use(secret)


def test_links_of_others_and_of_another_purpose_stay(app: APIFlask, ada: User) -> None:
    eve = create_user(email="eve@test.example")
    invitation, others = send(ada, purpose=Purpose.INVITATION), send(eve)
    send(ada)
    assert use(others) == eve.id
    assert use(invitation) == ada.id


@pytest.mark.parametrize("secret", ["", "x", "a" * 43, "\x00", "é" * 43])
def test_guesses_do_not_open(ada: User, secret: str) -> None:
    send(ada)
    assert links.find_link_owner(secret, now=NOW) is None
    with pytest.raises(LinkRefused):
        use(secret)


@pytest.mark.by_chance
@pytest.mark.both_databases
def test_two_at_once_get_one_password(app: APIFlask, ada: User) -> None:
    secret = send(ada)

    def attempt() -> bool:
        try:
            return bool(use(secret))
        except LinkRefused:
            return False

    assert sorted(in_threads(app, [attempt] * 4)) == [False, False, False, True]


def test_the_table_holds_no_secret(ada: User) -> None:
    secret = send(ada)
    row = db.session.execute(select(OneTimeLink.__table__)).one()
    assert secret not in str(row)


def test_nobody_gets_a_mailbox_full(ada: User) -> None:
    for _ in range(MOST_AN_HOUR):
        send(ada)
    with pytest.raises(TooManyLinks):
        send(ada)
    send(ada, now=NOW + timedelta(hours=1, seconds=1))


def test_who_has_a_password_is_not_invited_and_who_has_none_resets_none(ada: User) -> None:
    eve = create_user(email="eve@test.example")
    for user, ask, refusal in (
        (ada, password_recovery.invite, NotToBeInvited),
        (eve, password_recovery.send_reset, NoPasswordToReset),
    ):
        refused(user, ask, refusal)
    for user, ask, refusal in (
        (eve, password_recovery.invite, NotToBeInvited),
        (ada, password_recovery.send_reset, NoPasswordToReset),
    ):
        deactivated(user)
        refused(user, ask, refusal)


def refused(user: User, ask: Callable[..., OneTimeLink], refusal: type[Exception]) -> None:
    with pytest.raises(refusal), transaction():
        ask(user.id, actor=SYSTEM, reach=EVERYTHING, now=NOW)


def test_an_invitation_names_who_invites(app: APIFlask, ada: User) -> None:
    eve = create_user(email="eve@test.example")
    with transaction():
        link = password_recovery.invite(
            eve.id, actor=audit.Actor(user_id=ada.id), reach=EVERYTHING, now=NOW
        )
        assert db.session.get_one(Letter, link.letter_id).context["inviter"] == "ada"
    assert links.newest_invitations([ada.id, eve.id]).keys() == {eve.id}


def test_sessions_of_others_stay(app: APIFlask, ada: User) -> None:
    eve = create_user(email="eve@test.example", password=PASSWORD)
    with transaction():
        start_session(eve, now=NOW, address=None, user_agent=None)
    use(send(ada))
    assert db.session.scalars(select(UserSession.revoked_at)).all() == [None]
