"""Accounts: made, changed, shut out; and the pure table of permissions."""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec

import pytest
from apiflask import APIFlask
from argon2 import Type, extract_parameters

from billtrack.accounts.users.models import User
from billtrack.accounts.users.passwords import hash_password, verify_password
from billtrack.accounts.users.permissions import (
    GRANTS,
    READ_ONLY,
    Breadth,
    Permission,
    Reach,
    Role,
    grantable_scopes,
)
from billtrack.core.errors import InvalidError
from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.extensions import db
from tests.cast import PASSWORD, Cast, as_person, create_user


def test_it_stores_an_address_in_one_form(app: APIFlask) -> None:
    for written, stored in (
        ("Ada@Test.Example", "ada@test.example"),
        ("  bea@test.example  ", "bea@test.example"),
        ("cleo+bills@test.example", "cleo+bills@test.example"),
        ("ÄDA@test.example", "äda@test.example"),
        ("e\u0301va@test.example", "éva@test.example"),
    ):
        assert create_user(email=written).email == stored


def test_it_gives_an_address_to_one_account_whatever_its_case(cast: Cast) -> None:
    taken = cast.admin.user.email.upper()
    body = {"email": taken, "name": "Again"}
    refused = cast.admin.post("/api/v1/users", body)
    assert (refused.status_code, refused.get_json()["code"]) == (409, "email_taken")
    path = f"/api/v1/users/{cast.customer.id}"
    assert cast.admin.patch(path, {"email": taken}).status_code == 409
    own = cast.admin.patch(path, {"email": cast.customer.user.email.upper()})
    assert (own.status_code, own.get_json()["email"]) == (200, "customer@test.example")


def test_it_changes_what_is_sent_and_leaves_the_rest(cast: Cast) -> None:
    path = f"/api/v1/users/{cast.customer.id}"
    before = cast.admin.get(path).get_json()
    assert cast.admin.patch(path, {}).get_json() == before
    assert cast.admin.patch(path, {"name": None}).get_json() == before
    assert cast.admin.patch(path, {"name": " Zoë "}).get_json() == {**before, "name": "Zoë"}
    assert cast.admin.get(path).get_json()["name"] == "Zoë"


def test_it_keeps_one_administrator(cast: Cast) -> None:
    path, admin = "/api/v1/users/{}/deactivate", as_person(cast.admin)
    refused = admin.post(path.format(cast.admin.id))
    assert (refused.status_code, refused.get_json()["code"]) == (409, "last_administrator")
    other = create_user(role=Role.ADMIN)
    assert admin.post(path.format(other.id)).status_code == 200
    assert admin.post(path.format(cast.admin.id)).status_code == 409


def test_it_shuts_an_account_out_once(cast: Cast) -> None:
    path = f"/api/v1/users/{cast.customer.id}/deactivate"
    first, again = cast.admin.post(path).get_json(), cast.admin.post(path).get_json()
    assert first == again
    assert first["active"] is False
    entries = db.session.query(AuditEntry).filter_by(action="user.deactivated").all()
    assert [entry.actor_user_id for entry in entries] == [cast.admin.id]
    assert db.session.get_one(User, cast.customer.id).deactivated_at is not None


def test_it_lists_by_role_name_and_state(cast: Cast) -> None:
    cast.admin.post(f"/api/v1/users/{cast.stranger.id}/deactivate")

    def names(query: str) -> list[str]:
        return [u["name"] for u in cast.admin.get(f"/api/v1/users?{query}").get_json()["data"]]

    assert names("role=provider") == ["Provider", "Other provider"]
    assert names("search=OTHER") == ["Other provider", "Other customer"]
    assert names("search=%25") == names("search=_") == names("search=%5C") == []
    assert names("active=false") == ["Stranger"]
    pages, cursor = [], ""
    while True:
        page = cast.admin.get(f"/api/v1/users?limit=3{cursor}").get_json()
        pages += [user["id"] for user in page["data"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert pages == sorted(set(pages))
    assert len(pages) == 7


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize("length", [11, 257])
def test_it_bounds_passwords(length: int) -> None:
    with pytest.raises(InvalidError):
        hash_password("x" * length)


@pytest.mark.usefixtures("app")
@pytest.mark.parametrize(
    "password",
    [
        *(
            "passwordpassword",
            "123456789012",
            "qwertyuiop12",
            "iloveyouforever",
            "aaaaaaaaaaaaaaaa",
        ),
        *("billtrack2026!", "P4ssw0rd12345", "lovelace-1815", "ada.lovelace99"),
    ],
)
def test_it_refuses_what_is_soon_guessed(password: str) -> None:
    with pytest.raises(InvalidError) as refused:
        hash_password(password, about=("ada.lovelace@test.example", "Ada Lovelace"))
    assert refused.value.errors[0].field == "password"


@pytest.mark.usefixtures("app")
def test_it_takes_several_words_and_what_is_random() -> None:
    for password in (PASSWORD, "kX9#vLq2pTz8", "Grüße aus dem Süden, bald"):
        assert verify_password(hash_password(password, about=("ada",)).text, password)


@pytest.mark.usefixtures("app")
def test_it_knows_a_password_by_its_hash_alone() -> None:
    stored = hash_password(PASSWORD).text
    assert PASSWORD not in stored
    assert verify_password(stored, PASSWORD)
    assert not verify_password(stored, PASSWORD + " ")
    assert not verify_password(None, PASSWORD)
    assert not verify_password("no hash", PASSWORD)


@pytest.mark.usefixtures("app")
def test_it_makes_each_guess_cost_memory_and_time() -> None:
    """At least what RFC 9106 asks for where memory is short: 64 MiB, three passes."""
    spec = find_spec("billtrack.accounts.users.passwords")
    assert spec is not None
    assert spec.loader is not None
    as_shipped = module_from_spec(spec)  # the suite's own copy does little work
    spec.loader.exec_module(as_shipped)
    costs = extract_parameters(as_shipped.hash_password(PASSWORD).text)
    assert costs.type is Type.ID
    assert costs.memory_cost >= 64 * 1024
    assert costs.time_cost >= 3
    assert costs.parallelism >= 4


def test_the_table_of_permissions_narrows_from_role_to_role() -> None:
    assert set(GRANTS[Role.ADMIN]) == set(Permission)
    assert set(GRANTS[Role.ADMIN].values()) == {Breadth.ALL}
    assert set(GRANTS[Role.CUSTOMER].values()) == {Breadth.ALL, Breadth.OWN}
    everybody = {p for p, breadth in GRANTS[Role.CUSTOMER].items() if breadth is Breadth.ALL}
    assert everybody == {Permission.METERS_READ, Permission.QUOTE}
    assert grantable_scopes(Role.CUSTOMER) <= READ_ONLY
    assert Permission.USAGE_RECORD not in GRANTS[Role.CUSTOMER]
    assert Permission.STATEMENTS_READ not in GRANTS[Role.PROVIDER]


@pytest.mark.parametrize("breadth", list(Breadth))
def test_a_reach_covers_oneself_and_only_the_widest_all(breadth: Breadth) -> None:
    assert Reach(breadth, 7).covers(7)
    assert Reach(breadth, 7).covers(8) is (breadth is Breadth.ALL)
