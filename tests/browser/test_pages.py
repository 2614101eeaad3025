"""The table of pages to look at leaves out no page that a role may open."""

from __future__ import annotations

from pathlib import Path

import pytest
from apiflask import APIFlask

from billtrack.accounts.access import PERMISSION_ATTRIBUTE, PUBLIC
from billtrack.accounts.users.permissions import Role, granted
from billtrack.entrypoints.app import create_app
from tests.browser.pages import NO_PAGES, OPEN_PAGES, PAGES
from tests.conftest import make_settings


@pytest.fixture
def bare(tmp_path: Path) -> APIFlask:
    """An app whose database is never asked."""
    return create_app(make_settings(tmp_path))


def find_permissions(app: APIFlask) -> dict[str, object]:
    """Return what may be opened in a browser: endpoint → permission or PUBLIC."""
    return {
        rule.endpoint: getattr(app.view_functions[rule.endpoint], PERMISSION_ATTRIBUTE)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith(("dashboard.", "docs.")) and "GET" in (rule.methods or ())
    }


def find_endpoints(app: APIFlask, paths: tuple[str, ...]) -> set[str]:
    """Return the endpoints that answer these paths; 1 stands for every name in them."""
    adapter = app.url_map.bind("localhost")
    return {str(adapter.match(_fill(path).partition("?")[0])[0]) for path in paths}


def _fill(path: str) -> str:
    return path.format_map(_Ones())


class _Ones(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return "1"


@pytest.mark.parametrize("role", Role)
def test_it_names_every_page_that_the_role_may_open(bare: APIFlask, role: Role) -> None:
    may_open = {
        endpoint
        for endpoint, permission in find_permissions(bare).items()
        if permission != PUBLIC and granted(role, permission) is not None  # type: ignore[arg-type]
    }
    assert find_endpoints(bare, PAGES[role]) == may_open - set(NO_PAGES)


def test_it_names_every_page_that_opens_without_an_account(bare: APIFlask) -> None:
    permissions = find_permissions(bare)
    public = {endpoint for endpoint, permission in permissions.items() if permission == PUBLIC}
    assert find_endpoints(bare, OPEN_PAGES) == public
    assert set(NO_PAGES) <= set(permissions)
