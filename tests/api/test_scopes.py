"""A key opens what its scopes name and nothing else, on every route of the API."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import pytest
from apiflask import APIFlask

from billtrack.accounts.access import PERMISSION_ATTRIBUTE
from billtrack.accounts.credentials.api_keys import create_api_key
from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Permission, Role, grantable_scopes
from billtrack.platform.db import transaction
from tests.cast import SYSTEM, Cast, Member

RECORD = {"quantity": 1, "event": "api_calls"}
pytestmark = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)


def test_it_refuses_each_route_to_a_key_without_its_scope(app: APIFlask, cast: Cast) -> None:
    everything = grantable_scopes(Role.ADMIN)
    tried = set()
    for method, address, permission in routes(app):
        key = scoped_key(cast.admin, sorted(everything - {permission}))
        answer = key._client().open(address, method=method, headers=key.headers({}))
        assert answer.status_code == 403, (method, address, permission)
        assert f"no scope {permission}" in answer.text
        tried.add(permission)
    assert tried >= {Permission.USAGE_RECORD, Permission.USERS_WRITE, Permission.API_KEYS_WRITE}


def test_it_opens_each_route_to_a_key_with_its_scope_alone(app: APIFlask, cast: Cast) -> None:
    for method, address, permission in routes(app):
        key = scoped_key(cast.admin, [permission])
        answer = key._client().open(address, method=method, headers=key.headers({}))
        assert answer.status_code not in {401, 403}, (method, address, permission)


def test_it_refuses_plain_requests_for_records_too(app: APIFlask, cast: Cast) -> None:
    reader = scoped_key(cast.provider, [Permission.USAGE_READ])
    recorder = scoped_key(cast.provider, [Permission.USAGE_RECORD])
    made = recorder.post("/api/v1/usage/", RECORD | {"user_id": cast.customer.id})
    assert made.status_code == 201
    # The second time a key was seen before, and its requests go the short way.
    for _ in range(2):
        assert reader.get(made.location).status_code == 200
        assert recorder.get(made.location).status_code == 403
        answer = reader.post("/api/v1/usage/", RECORD | {"user_id": cast.customer.id})
        assert answer.status_code == 403
    assert len(reader.get("/api/v1/usage").get_json()["data"]) == 1


def routes(app: APIFlask) -> Iterator[tuple[str, str, Permission]]:
    """Yield method, address and permission of every route that asks for a key."""
    for rule in app.url_map.iter_rules():
        permission = getattr(app.view_functions[rule.endpoint], PERMISSION_ATTRIBUTE, None)
        if rule.rule.startswith("/api/") and isinstance(permission, Permission):
            for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"}):
                # Nothing has this number: what is opened changes nothing.
                yield method, re.sub(r"<[^>]+>", "999", rule.rule), permission


def scoped_key(member: Member, scopes: Sequence[str]) -> Member:
    """Return the account with another key, of these scopes."""
    with transaction() as session:
        user = session.get_one(User, member.id)
        _, secret = create_api_key(
            user, actor=SYSTEM, now=datetime.now(UTC), name="scoped", scopes=list(scopes)
        )
    return Member(member.user, secret)
