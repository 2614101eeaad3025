"""API keys: their checksum, their successors, and what a change of role leaves of them."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from billtrack.accounts.credentials import api_keys
from billtrack.accounts.credentials.api_keys import create_api_key
from billtrack.accounts.credentials.key_cache import LiveKey
from billtrack.accounts.credentials.key_format import (
    ALPHABET,
    API_KEY,
    checksum,
    is_api_key,
    new_secret,
)
from billtrack.accounts.users.models import ApiKey, User
from billtrack.accounts.users.permissions import Role
from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.cast import SYSTEM, Cast, Member

pytestmark = pytest.mark.one_database


def test_it_knows_its_own_secrets_and_no_others() -> None:
    secret = new_secret(API_KEY)
    assert secret != new_secret(API_KEY)
    assert is_api_key(secret)
    wrong = [secret[:-1], secret + "0", secret.swapcase(), "", API_KEY, secret.removeprefix("bt_")]
    for place in range(len(API_KEY), len(secret)):
        other = next(one for one in ALPHABET if one != secret[place])
        wrong.append(secret[:place] + other + secret[place + 1 :])
    assert [text for text in wrong if is_api_key(text)] == []


def test_it_writes_the_checksum_as_scanners_compute_it() -> None:
    # CRC-32 of "123456789" is 0xCBF43926, the check value of the standard.
    number = 0
    for digit in checksum("123456789"):
        number = number * 62 + ALPHABET.index(digit)
    assert number == 0xCBF43926


def test_it_refuses_a_mistyped_key_without_asking_the_database(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = cast.provider.key
    mistyped = Member(cast.provider.user, key[:-1] + ("a" if key[-1] != "a" else "b"))
    unknown = Member(cast.provider.user, new_secret(API_KEY))
    asked: list[str] = []
    find = api_keys.find_together

    def find_and_note(some: Sequence[str]) -> list[LiveKey | None]:
        asked.extend(some)
        return find(some)

    monkeypatch.setattr(api_keys, "find_together", find_and_note)
    for member, code, looked in (
        (mistyped, "malformed_credential", False),
        (unknown, "unauthenticated", True),
    ):
        asked.clear()
        answer = member.get("/api/v1/usage/1")
        assert (answer.status_code, answer.get_json()["code"]) == (401, code)
        assert bool(asked) is looked, asked


def test_it_takes_keys_that_were_made_before_there_was_a_checksum(cast: Cast) -> None:
    secret = API_KEY + secrets.token_urlsafe(32)
    with transaction():
        key = db.session.query(ApiKey).filter_by(user_id=cast.provider.id).one()
        key.key_hash = hashlib.sha256(secret.encode()).hexdigest()
    assert Member(cast.provider.user, secret).get("/api/v1/me").status_code == 200
    assert cast.provider.get("/api/v1/me").status_code == 401


def test_it_gives_a_key_a_successor_beside_which_it_works_for_a_while(cast: Cast) -> None:
    made, key = make_key(cast.provider, scopes=["usage:record", "usage:read"], days=30)
    answer = cast.provider.post(f"/api/v1/api-keys/{key.id}/rotate", {"grace_seconds": 3600})
    body = answer.get_json()
    assert (answer.status_code, body["replaces_id"], body["name"]) == (201, key.id, key.name)
    assert body["scopes"] == ["usage:read", "usage:record"]
    successor = Member(cast.provider.user, body["key"])
    assert [one.get("/api/v1/usage").status_code for one in (made, successor)] == [200, 200]
    fresh, new = read(key.id), read(body["id"])
    assert fresh.rotated_at is not None
    assert fresh.expires_at == fresh.rotated_at + timedelta(hours=1)
    assert new.expires_at == new.created_at + timedelta(days=30)
    end(key.id)
    assert [one.get("/api/v1/usage").status_code for one in (made, successor)] == [401, 200]
    (entry,) = db.session.query(AuditEntry).filter_by(action="api_key.rotated")
    assert (entry.object_id, entry.changes["replaced_by"]) == (key.id, new.id)


def test_it_ends_the_old_key_at_once_without_grace(cast: Cast) -> None:
    made, key = make_key(cast.provider)
    answer = cast.provider.post(f"/api/v1/api-keys/{key.id}/rotate", {"grace_seconds": 0})
    assert answer.status_code == 201
    assert made.get("/api/v1/me").status_code == 401


def test_it_never_lengthens_the_life_of_the_old_key(cast: Cast) -> None:
    _, key = make_key(cast.provider, days=1)
    ends_at = key.expires_at
    cast.provider.post(f"/api/v1/api-keys/{key.id}/rotate", {"grace_seconds": 7 * 86400})
    assert read(key.id).expires_at == ends_at


@pytest.mark.both_databases
def test_it_counts_once_what_both_keys_send(cast: Cast) -> None:
    made, key = make_key(cast.provider)
    record = {"quantity": 5, "event": "api_calls", "user_id": cast.customer.id}
    headers = {"Idempotency-Key": "the same"}
    first = made.post("/api/v1/usage/", record, headers=headers)
    body = cast.provider.post(f"/api/v1/api-keys/{key.id}/rotate").get_json()
    again = Member(cast.provider.user, body["key"]).post("/api/v1/usage/", record, headers=headers)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.get_json() == again.get_json()


def test_it_rotates_a_key_once(cast: Cast) -> None:
    _, key = make_key(cast.provider)
    path, idempotent = f"/api/v1/api-keys/{key.id}/rotate", {"Idempotency-Key": "r"}
    first = cast.provider.post(path, {}, headers=idempotent).get_json()
    repeated = cast.provider.post(path, {}, headers=idempotent).get_json()
    assert repeated == {**first, "key": None}
    other = cast.provider.post(path, {})
    assert (other.status_code, other.get_json()["code"]) == (409, "api_key_rotated")
    assert db.session.query(ApiKey).filter_by(replaces_id=key.id).count() == 1


@pytest.mark.parametrize("ending", ["expires_at", "revoked_at"])
def test_it_rotates_no_key_that_has_ended(cast: Cast, ending: str) -> None:
    _, key = make_key(cast.provider)
    end(key.id, ending)
    answer = cast.provider.post(f"/api/v1/api-keys/{key.id}/rotate")
    assert (answer.status_code, answer.get_json()["code"]) == (409, "api_key_ended")


def test_it_lets_a_key_rotate_none_that_may_do_more(cast: Cast) -> None:
    weak, weak_key = make_key(cast.provider, scopes=["api-keys:write", "usage:read"])
    _, strong_key = make_key(cast.provider, scopes=["usage:record"])
    refused = weak.post(f"/api/v1/api-keys/{strong_key.id}/rotate")
    assert (refused.status_code, refused.get_json()["code"]) == (403, "forbidden")
    assert read(strong_key.id).rotated_at is None
    assert weak.post(f"/api/v1/api-keys/{weak_key.id}/rotate").status_code == 201


@pytest.mark.parametrize("seconds", [-1, 604_801, 1.5, "60", None, True])
def test_it_refuses_a_grace_that_is_none(cast: Cast, seconds: Any) -> None:
    _, key = make_key(cast.provider)
    answer = cast.provider.post(f"/api/v1/api-keys/{key.id}/rotate", {"grace_seconds": seconds})
    assert answer.status_code == 422
    assert answer.get_json()["errors"][0]["field"] == "grace_seconds"


def test_it_narrows_a_key_at_once_when_the_role_changes(cast: Cast) -> None:
    scopes = ["reports:create", "usage:record", "usage:read", "users:write"]
    made, key = make_key(cast.manager, scopes=scopes)
    report = f"/api/v1/reports/{cast.manager.id}"
    user = {"email": "new@test.example", "name": "New"}
    assert made.post(report).status_code == 202
    assert made.post("/api/v1/users", user).status_code == 201
    set_role(cast.manager, Role.CUSTOMER)
    record = {"quantity": 5, "event": "api_calls", "user_id": cast.manager.id}
    # A customer may ask for reports, but its keys only read.
    for path, body in ((report, None), ("/api/v1/users", user), ("/api/v1/usage/", record)):
        answer = made.post(path, body)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "forbidden"), path
    assert made.get("/api/v1/usage").status_code == 200
    body = cast.admin.post(f"/api/v1/api-keys/{key.id}/rotate").get_json()
    assert body["scopes"] == ["usage:read"]


def make_key(
    member: Member, *, scopes: list[str] | None = None, days: int | None = None
) -> tuple[Member, ApiKey]:
    now = datetime.now(UTC)
    with transaction() as session:
        key, secret = create_api_key(
            session.get_one(User, member.id),
            actor=SYSTEM,
            now=now,
            name="collector",
            scopes=scopes,
            expires_at=now + timedelta(days=days) if days else None,
        )
    return Member(member.user, secret), key


def read(key_id: int) -> ApiKey:
    db.session.rollback()
    return db.session.get_one(ApiKey, key_id, populate_existing=True)


def end(key_id: int, ending: str = "expires_at") -> None:
    with transaction() as session:
        setattr(session.get_one(ApiKey, key_id), ending, datetime.now(UTC))


def set_role(member: Member, role: Role) -> None:
    with transaction() as session:
        session.get_one(User, member.id).role = role


def test_a_key_lets_nobody_in_whose_account_is_deactivated(cast: Cast) -> None:
    assert api_keys.find_together([cast.provider.key]) != [None]
    with transaction():
        db.session.execute(
            update(User).where(User.id == cast.provider.id).values(deactivated_at=datetime.now(UTC))
        )
    assert api_keys.find_together([cast.provider.key]) == [None]
    assert cast.provider.get("/api/v1/me").status_code == 401
