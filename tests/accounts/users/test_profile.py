"""One's own password and sessions: who stays in, who is out, and what is written down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from apiflask import APIFlask
from sqlalchemy import update

from billtrack.accounts.sign_in import sessions
from billtrack.accounts.sign_in.authentication import SignInRefused, authenticate, verify_sign_in
from billtrack.accounts.sign_in.password_changes import (
    WrongPassword,
    change_password,
    verify_current_password,
)
from billtrack.accounts.sign_in.sessions import IDLE_LIMIT, SessionNotFound
from billtrack.accounts.users.models import User, UserSession
from billtrack.accounts.users.passwords import hash_password
from billtrack.core.errors import InvalidError
from billtrack.platform.audit import Actor
from billtrack.platform.audit.models import AuditEntry, AuditPersonalValue
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.cast import PASSWORD, Cast, create_user

pytestmark = pytest.mark.one_database

NEW = "another horse, another battery"


@pytest.fixture
def ada(app: APIFlask) -> User:
    return create_user(email="ada@test.example", password=PASSWORD)


def sign_in(user: User, password: str = PASSWORD) -> str:
    verified = verify_sign_in(email=user.email, password=password)
    with transaction():
        return sessions.start_session(
            authenticate(verified),
            now=datetime.now(UTC),
            address="192.0.2.7",
            user_agent="Firefox/140.0",
        )


def session_of(token: str) -> UserSession | None:
    db.session.rollback()
    found = sessions.find_session(token, now=datetime.now(UTC))
    return found[0] if found else None


def session_id_of(token: str) -> int:
    found = session_of(token)
    assert found is not None
    return found.id


def change(user: User, token: str, *, current: str = PASSWORD, password: str = NEW) -> str:
    session_id = session_id_of(token)
    verified = verify_current_password(user.id, current)
    hashed = hash_password(password)
    with transaction():
        return change_password(
            verified,
            session_id=session_id,
            password=hashed,
            actor=Actor(user_id=user.id, address="192.0.2.7"),
            now=datetime.now(UTC),
        )


def test_it_takes_the_new_password_and_no_longer_the_old(ada: User) -> None:
    change(ada, sign_in(ada))
    sign_in(ada, NEW)
    with pytest.raises(SignInRefused):
        sign_in(ada)


def test_it_ends_every_other_session_and_renews_the_secret_of_this_one(
    ada: User, cast: Cast
) -> None:
    here, there = sign_in(ada), sign_in(ada)
    other = create_user(email="bea@test.example", password=PASSWORD)
    elsewhere = sign_in(other)
    this_id = session_id_of(here)
    renewed = change(ada, here)
    assert session_id_of(renewed) == this_id
    assert session_of(here) is None
    assert session_of(there) is None
    assert session_of(elsewhere) is not None


@pytest.mark.parametrize(
    ("current", "password", "field"),
    [
        ("wrong horse battery staple", NEW, "current_password"),
        ("", NEW, "current_password"),
        (PASSWORD, "too short", "password"),
        (PASSWORD, "x" * 257, "password"),
    ],
)
def test_it_refuses_and_changes_nothing(ada: User, current: str, password: str, field: str) -> None:
    here, there = sign_in(ada), sign_in(ada)
    with pytest.raises(InvalidError) as refused:
        change(ada, here, current=current, password=password)
    assert [error.field for error in refused.value.errors] == [field]
    assert session_of(here) is not None
    assert session_of(there) is not None
    sign_in(ada)


def test_it_takes_no_password_for_an_account_that_has_none(ada: User) -> None:
    token = sign_in(ada)
    with transaction() as session:
        session.execute(update(User).where(User.id == ada.id).values(password_hash=None))
    with pytest.raises(WrongPassword):
        change(ada, token)


def test_it_writes_down_the_change_without_any_secret(ada: User) -> None:
    here = sign_in(ada)
    sign_in(ada)
    change(ada, here)
    entries = db.session.query(AuditEntry).filter(AuditEntry.actor_user_id == ada.id).all()
    actions = [entry.action for entry in entries if entry.action != "session.started"]
    assert sorted(actions) == ["session.ended", "user.password_changed"]
    kept = str([entry.changes for entry in entries])
    kept += str([value.value for value in db.session.query(AuditPersonalValue)])
    assert PASSWORD not in kept
    assert NEW not in kept
    assert "192.0.2.7" in kept


def test_it_lists_the_sessions_that_live_the_one_seen_last_first(ada: User) -> None:
    now = datetime.now(UTC)
    ids = [session_id_of(sign_in(ada)) for _ in range(5)]
    for session_id, changes in zip(
        ids,
        (
            {"seen_at": now - timedelta(hours=1)},
            {"seen_at": now - IDLE_LIMIT - timedelta(minutes=1)},
            {"expires_at": now - timedelta(seconds=1)},
            {"revoked_at": now},
            {"seen_at": now},
        ),
        strict=True,
    ):
        with transaction() as session:
            session.execute(update(UserSession).where(UserSession.id == session_id).values(changes))
    listed = [row.id for row in sessions.list_sessions(ada.id, now=now)]
    assert listed == [ids[4], ids[0]]


def test_it_ends_ones_own_session_and_no_other(ada: User) -> None:
    bea = create_user(email="bea@test.example", password=PASSWORD)
    token = sign_in(ada)
    session_id, now = session_id_of(token), datetime.now(UTC)
    for foreign in (session_id, 10**9):
        with pytest.raises(SessionNotFound), transaction():
            sessions.revoke_own_session(foreign, user_id=bea.id, actor=Actor(), now=now)
    assert session_of(token) is not None
    for _again in range(2):
        with transaction():
            sessions.revoke_own_session(session_id, user_id=ada.id, actor=Actor(), now=now)
    assert session_of(token) is None
    ended = db.session.query(AuditEntry).filter(AuditEntry.action == "session.ended")
    assert ended.count() == 1


def test_it_counts_the_sessions_that_it_ended(ada: User) -> None:
    here, _, _ = sign_in(ada), sign_in(ada), sign_in(ada)
    keep, now = session_id_of(here), datetime.now(UTC)
    for expected in (2, 0):
        with transaction():
            ended = sessions.revoke_other_sessions(ada.id, keep=keep, actor=Actor(), now=now)
        assert ended == expected
    assert session_of(here) is not None
