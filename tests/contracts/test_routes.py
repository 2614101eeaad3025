"""Every route says who may use it."""

from __future__ import annotations

from pathlib import Path

import pytest
from apiflask import APIFlask

from billtrack.accounts.access import PERMISSION_ATTRIBUTE, PUBLIC
from billtrack.accounts.users.permissions import GRANTS, Permission
from billtrack.entrypoints.app import create_app
from billtrack.platform.replica.reading import MAY_BE_OLD as REPLICA_MARK
from tests.conftest import make_settings

# What answers without an account's credentials: the pages to sign in and to come by a password,
# the one-time set-up, health, static files, and metrics, which have a token of their own.
PUBLIC_ROUTES = {
    "health.show_health",
    "health.show_liveness",
    "health.show_readiness",
    "scrape.show_metrics",
    "api.issue_token",
    "api.refresh_token",
    "api.revoke_token",
    "dashboard.sign_in",
    "dashboard.sign_in_code",
    "dashboard.set_up",
    "dashboard.forgot_password",
    "dashboard.choose_password",
}
WITHOUT_VIEW = {"static"}

# What may be read from a replica, and so be seconds old. Whatever decides a write, who may do
# what, or how far a job is, and what a person is billed, does not belong here.
MAY_BE_OLD = {
    "api.list_usage",
    "api.summarize_usage",
    "dashboard.customers",
    "dashboard.export_usage",
    "dashboard.overview",
    "dashboard.usage",
}


@pytest.fixture
def bare(tmp_path: Path) -> APIFlask:
    """An app whose database is never asked."""
    return create_app(make_settings(tmp_path))


def test_every_route_names_a_permission_or_is_public(bare: APIFlask) -> None:
    named = {
        endpoint: getattr(view, PERMISSION_ATTRIBUTE, None)
        for endpoint, view in bare.view_functions.items()
        if endpoint not in WITHOUT_VIEW
    }
    assert {name for name, permission in named.items() if permission == PUBLIC} == PUBLIC_ROUTES
    guarded = {name: permission for name, permission in named.items() if permission != PUBLIC}
    assert {name for name, said in guarded.items() if not isinstance(said, Permission)} == set()


def test_every_permission_guards_something_and_is_granted(bare: APIFlask) -> None:
    asked = {getattr(view, PERMISSION_ATTRIBUTE, None) for view in bare.view_functions.values()}
    assert set(Permission) <= asked
    assert all(set(granted) <= set(Permission) for granted in GRANTS.values())


def test_only_these_routes_may_show_what_is_seconds_old(bare: APIFlask) -> None:
    marked = {name for name, view in bare.view_functions.items() if hasattr(view, REPLICA_MARK)}
    assert marked == MAY_BE_OLD
    rules = [rule for rule in bare.url_map.iter_rules() if rule.endpoint in MAY_BE_OLD]
    assert all((rule.methods or set()) <= {"GET", "HEAD", "OPTIONS"} for rule in rules)


def test_no_route_that_writes_answers_to_get(bare: APIFlask) -> None:
    forms = {
        *("dashboard.sign_in", "dashboard.sign_in_code", "dashboard.set_up"),
        *("dashboard.forgot_password", "dashboard.choose_password"),
    }
    for rule in bare.url_map.iter_rules():
        methods = (rule.methods or set()) - {"HEAD", "OPTIONS"}
        assert len(methods) == 1 or rule.endpoint in forms, rule
        assert methods <= {"GET", "POST", "PATCH"}, rule
