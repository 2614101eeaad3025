"""Access tokens: ours open what the account may now, and nothing else passes for one."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from apiflask import APIFlask
from pydantic import SecretStr, ValidationError
from werkzeug.test import TestResponse

from billtrack.accounts import lifecycle
from billtrack.accounts.credentials import access_tokens, tokens
from billtrack.accounts.sign_in.password_changes import set_password
from billtrack.accounts.users.models import TokenFamily, User
from billtrack.accounts.users.passwords import hash_password
from billtrack.accounts.users.permissions import Breadth, Reach, Role
from billtrack.core.periods import Month
from billtrack.documents.reports.operations import request_report
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar
from tests.cast import PASSWORD, SYSTEM, Member, create_user
from tests.conftest import SECRET, make_settings

pytestmark = pytest.mark.one_database

ME = "/api/v1/me"
EVERYTHING = Reach(Breadth.ALL, 0)
NEW_PASSWORD = "another quite long passphrase"

embedded = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
"""For what is decided before any database is asked."""


@pytest.fixture
def member(app: APIFlask) -> Member:
    """A manager who signed in with a password; calls go out with the access token."""
    user = create_user(role=Role.MANAGER, password=PASSWORD)
    return Member(user, start(user).access_token)


def start(user: User, now: datetime | None = None) -> tokens.TokenPair:
    with transaction():
        return tokens.start_family(
            user, now=now or datetime.now(UTC), address=None, user_agent=None
        )


def with_token(member: Member, token: str) -> TestResponse:
    return Member(member.user, token).get(ME)


def parts_of(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header = jwt.get_unverified_header(token)
    return header, jwt.decode(token, options={"verify_signature": False})


def forged(
    member: Member,
    *,
    header: dict[str, Any] | None = None,
    claims: dict[str, Any] | None = None,
    key: bytes | None = None,
    digest: str = "sha256",
) -> str:
    """Return the member's token with other headers, claims (None: without it) or another key."""
    own_header, own = parts_of(member.key)
    kept = {name: value for name, value in (own | (claims or {})).items() if value is not None}
    return sealed(encoded(own_header | (header or {})), encoded(kept), key=key, digest=digest)


def sealed(header: str, payload: str, *, key: bytes | None = None, digest: str = "sha256") -> str:
    """Return a token of these parts, signed with our own key if no other is given."""
    (own,) = access_tokens._signing_keys().values()
    text = f"{header}.{payload}"
    return f"{text}.{encoded(hmac.digest(own if key is None else key, text.encode(), digest))}"


def encoded(value: Any) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def test_it_opens_every_kind_of_route(app: APIFlask, member: Member) -> None:
    assert member.get(ME).get_json()["email"] == member.user.email
    customer = create_user(email="c@x.example")
    record = {"quantity": 5, "event": "api_calls", "user_id": customer.id}
    made = member.post("/api/v1/usage/", record)
    assert made.status_code == 201
    assert member.get(f"/api/v1/usage/{made.get_json()['id']}").status_code == 200
    assert member.post("/api/v1/usage/batch", {"records": [record]}).status_code == 200
    assert member.get("/api/v1/openapi.json").status_code == 200
    app.extensions["billtrack.storage"].put("1/1/report.pdf", b"%PDF-")
    path = report_of(customer.id)
    assert member.get(path, buffered=True).data == b"%PDF-"
    assert member.get("/customers").status_code == 401


def report_of(user_id: int) -> str:
    now = datetime.now(UTC)
    month = Month.of(current_calendar().today(now))
    with transaction() as session:
        user = session.get_one(User, user_id)
        report = request_report(user, month.dates, file_format="pdf", actor=SYSTEM, now=now)
        report.path = "1/1/report.pdf"
    return f"/reports/{report.job_id}/user-{user_id}-{month}.pdf"


@embedded
def test_it_says_who_signed_in_and_nothing_about_rights(member: Member) -> None:
    header, claims = parts_of(member.key)
    assert header == {"alg": "HS256", "typ": "at+jwt", "kid": header["kid"]}
    assert claims.keys() == {"iss", "aud", "sub", "sid", "jti", "iat", "nbf", "exp"}
    assert (claims["iss"], claims["aud"]) == ("http://localhost:6009", "billtrack-api")
    assert claims["sub"] == str(member.id)
    assert claims["exp"] - claims["iat"] == 900
    assert parts_of(start(member.user).access_token)[1]["jti"] != claims["jti"]


def test_it_refuses_claims_that_do_not_hold(member: Member) -> None:
    now = int(datetime.now(UTC).timestamp())
    other = create_user(email="other@test.example", role=Role.ADMIN, password=PASSWORD)
    _, others = parts_of(start(other).access_token)
    claims: dict[str, dict[str, Any]] = {
        "expired": {"exp": now - 60},
        "not yet valid": {"nbf": now + 3600},
        "issued in the future": {"iat": now + 3600},
        "of another issuer": {"iss": "https://elsewhere.example"},
        "for another audience": {"aud": "somebody-else"},
        "for several audiences": {"aud": ["billtrack-api", "somebody-else"]},
        "of nobody": {"sub": "0"},
        "of a number": {"sub": member.id},
        "of another account": {"sub": others["sub"]},
        "of the sign-in of another account": {"sid": others["sid"]},
        "of a sign-in that there never was": {"sid": "999"},
        "of a sign-in that is no number": {"sid": "x"},
        "of a sign-in that no database counts to": {"sid": "9" * 30},
        **{f"without {name}": {name: None} for name in access_tokens._CLAIMS},
    }
    tokens_ = {name: forged(member, claims=changed) for name, changed in claims.items()}
    assert wrongly_let_in(member, tokens_) == []


FORGERIES: dict[str, Callable[[Member], str]] = {
    "no algorithm": lambda m: forged(m, header={"alg": "none"}).rpartition(".")[0] + ".",
    "no algorithm, with a signature": lambda m: forged(m, header={"alg": "none"}),
    "NONE": lambda m: forged(m, header={"alg": "NONE"}),
    "HS512": lambda m: forged(m, header={"alg": "HS512"}, digest="sha512"),
    "HS384": lambda m: forged(m, header={"alg": "HS384"}, digest="sha384"),
    "called RS256": lambda m: forged(m, header={"alg": "RS256"}),
    "another key": lambda m: forged(m, key=b"k" * 32),
    "the secret itself": lambda m: forged(m, key=SECRET.get_secret_value().encode()),
    "an empty key": lambda m: forged(m, key=b""),
    "an unknown key": lambda m: forged(m, header={"kid": "nobody"}),
    "the path of a key": lambda m: forged(m, header={"kid": "../../dev/null"}),
    "a key that is a number": lambda m: forged(m, header={"kid": 1}),
    "another type": lambda m: forged(m, header={"typ": "JWT"}),
    "where to find a key": lambda m: forged(m, header={"jku": "https://elsewhere.example"}),
    "a key of its own": lambda m: forged(m, header={"jwk": {"kty": "oct", "k": "AA"}}),
    "a condition": lambda m: forged(m, header={"crit": ["exp"]}),
    "another payload": lambda m: ".".join(
        [m.key.split(".")[0], encoded(parts_of(m.key)[1] | {"sub": "1"}), m.key.split(".")[2]]
    ),
    "no signature": lambda m: m.key.rpartition(".")[0] + ".",
    "two parts": lambda m: m.key.rpartition(".")[0],
    "four parts": lambda m: m.key + "." + m.key.rpartition(".")[2],
    "an extra part in front": lambda m: "e30." + m.key,
    "padding": lambda m: m.key + "=",
    "another first character": lambda m: m.key.replace(".", ".A", 1),
    "a payload that is no object": lambda m: sealed(m.key.split(".")[0], encoded(b"[]")),
    "a payload that is no JSON": lambda m: sealed(m.key.split(".")[0], encoded(b"{")),
    "deep nesting": lambda m: sealed(m.key.split(".")[0], encoded(b"[" * 1000)),
    "a header that is no object": lambda m: sealed(encoded(b"[]"), m.key.split(".")[1]),
    "a header that is nested deeply": lambda m: sealed(encoded(b"[" * 1000), "e30"),
    "much": lambda m: m.key + "A" * 50_000,
    "dots": lambda m: "..",
    "a refresh token": lambda m: start(m.user).refresh_token,
}


@embedded
def test_it_refuses_forgeries(member: Member) -> None:
    assert wrongly_let_in(member, {name: forge(member) for name, forge in FORGERIES.items()}) == []


def wrongly_let_in(member: Member, forgeries: dict[str, str]) -> list[str]:
    """Return which of these tokens are not refused as they should be."""
    # Those of these tests pass where nothing is wrong with them: it is the change that counts.
    assert with_token(member, forged(member)).status_code == 200
    wrong = []
    for name, token in forgeries.items():
        answer = with_token(member, token)
        code = answer.get_json().get("code")
        if answer.status_code != 401 or code not in {"unauthenticated", "malformed_credential"}:
            wrong.append(f"{name}: {answer.status_code} {code}")
    assert member.get(ME).status_code == 200
    return wrong


def assert_refused(answer: TestResponse) -> None:
    assert answer.status_code == 401, answer.get_data(as_text=True)
    assert answer.mimetype == "application/problem+json"
    assert answer.get_json()["code"] in {"unauthenticated", "malformed_credential"}


def test_it_ends_after_15_minutes(member: Member) -> None:
    minute = timedelta(minutes=1)
    for age, status in ((14 * minute, 200), (16 * minute, 401)):
        token = start(member.user, datetime.now(UTC) - age).access_token
        assert with_token(member, token).status_code == status


def test_it_ends_with_its_sign_in(member: Member) -> None:
    with transaction() as session:
        session.query(TokenFamily).one().expires_at = datetime.now(UTC)
    assert_refused(member.get(ME))


def test_it_ends_with_the_account_and_does_not_come_back(member: Member) -> None:
    now = datetime.now(UTC)
    with transaction():
        lifecycle.deactivate_user(member.id, actor=SYSTEM, reach=EVERYTHING, now=now)
    assert_refused(member.get(ME))
    with transaction() as session:
        session.get_one(User, member.id).deactivated_at = None
    assert_refused(member.get(ME))


def test_it_is_refused_for_an_account_that_is_only_marked(member: Member) -> None:
    with transaction() as session:
        session.get_one(User, member.id).deactivated_at = datetime.now(UTC)
    assert_refused(member.get(ME))


def test_it_ends_when_the_password_changes(member: Member) -> None:
    hashed = hash_password(NEW_PASSWORD)
    with transaction():
        set_password(
            member.id,
            password=hashed,
            keep_session_id=None,
            actor=SYSTEM,
            now=datetime.now(UTC),
        )
    assert_refused(member.get(ME))


def test_it_ends_when_the_role_is_changed(member: Member) -> None:
    now = datetime.now(UTC)
    with transaction():
        lifecycle.change_role(
            member.id, role=Role.PROVIDER, actor=SYSTEM, reach=EVERYTHING, now=now
        )
    assert_refused(member.get(ME))


def test_it_may_what_the_role_of_the_account_may_now(member: Member) -> None:
    assert member.get("/api/v1/users").status_code == 200
    with transaction() as session:
        session.get_one(User, member.id).role = Role.PROVIDER
    refused = member.get("/api/v1/users")
    assert (refused.status_code, refused.get_json()["code"]) == (403, "forbidden")
    assert member.get("/api/v1/usage").status_code == 200


def with_keys(settings: Settings, text: str | None) -> Settings:
    keys = SecretStr(text) if text else None
    return settings.model_copy(update={"jwt_keys": keys})


@embedded
def test_it_knows_the_keys_before_until_they_are_taken_away(app: APIFlask, member: Member) -> None:
    settings: Settings = app.extensions["billtrack.settings"]
    old, new = "a8Qm3ZtP" * 4, "x5Rk9WvB" * 4
    seen = []
    for text in (f"2026-10:{old}", f"2026-11:{new},2026-10:{old}", f"2026-11:{new}", None):
        app.extensions["billtrack.settings"] = with_keys(settings, text)
        seen.append(start(member.user).access_token)
        status = [with_token(member, token).status_code for token in (member.key, *seen)]
        assert (
            status
            == {
                1: [401, 200],
                2: [401, 200, 200],
                3: [401, 401, 200, 200],
                4: [200, 401, 401, 401, 200],
            }[len(seen)]
        )
    assert [parts_of(token)[0]["kid"] for token in seen[:3]] == ["2026-10", "2026-11", "2026-11"]


@pytest.mark.parametrize(
    "text",
    [
        *("short:abcdef", "no-name", ":a8Qm3ZtPa8Qm3ZtPa8Qm3ZtPa8Qm3ZtP", "k:" + "change-me-" * 9),
        "k:a8Qm3ZtPa8Qm3ZtPa8Qm3ZtPa8Qm3ZtP,k:x5Rk9WvBx5Rk9WvBx5Rk9WvBx5Rk9WvB",
    ],
)
def test_it_refuses_to_start_with_keys_that_guard_nothing(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValidationError):
        make_settings(tmp_path, jwt_keys=SecretStr(text))
