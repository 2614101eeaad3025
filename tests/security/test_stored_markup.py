"""What somebody typed is shown as text wherever it is shown: never as markup, never as script."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
from apiflask import APIFlask

from billtrack.accounts.credentials import api_keys
from billtrack.accounts.users.models import User
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.cast import SYSTEM, Cast, Member, create_record
from tests.dashboard.page import Page, Visitor

ALIKE = 2
"""How many pages are opened of those whose addresses differ in numbers only."""


def hostile(word: str) -> str:
    """Return text that would run in every place of a page that takes it for more than text."""
    script = f"<script>{word}()</script><img src=x onerror={word}()>"
    return f"{word}'\"></title></script>{script}{{{{7*7}}}}"


NAMES = ("customer", "provider", "manager", "stranger")


@pytest.fixture
def hostile_world(app: APIFlask, cast: Cast) -> None:
    """Names, metadata, reasons, keys and files that try everything."""
    with transaction():
        for name in NAMES:
            db.session.get_one(User, getattr(cast, name).id).name = hostile(f"x{name}")
        for member in (cast.customer, cast.provider, cast.manager, cast.admin):
            api_keys.create_api_key(
                member.user, actor=SYSTEM, now=datetime.now(UTC), name=hostile("xkey")
            )
    record = create_record(cast)
    body = {"quantity": 5, "event": "api_calls", "user_id": cast.customer.id}
    with_metadata = {**body, "metadata": {hostile("xfield")[:60]: hostile("xvalue")}}
    assert cast.provider.post("/api/v1/usage/", with_metadata).status_code == 201
    reason = {"reason": hostile("xreason")}
    assert cast.admin.post(f"/api/v1/usage/{record.id}/reverse", reason).status_code == 201
    for who in (cast.manager, cast.customer):
        assert who.post(f"/api/v1/reports/{cast.customer.id}").status_code in {202, 403}
    changed = {"name": hostile("xrenamed")}
    assert cast.admin.patch(f"/api/v1/users/{cast.stranger.id}", changed).status_code == 200


def all_pages(visitor: Visitor) -> Iterator[Page]:
    """Open every page that links lead to, from the start page on."""
    waiting = deque(["/", "/settings/audit", "/settings/health"])
    seen, alike = set(waiting), Counter[str]()
    while waiting:
        page = visitor.request("GET", waiting.popleft())
        if page.status == 200 and page.is_html:
            yield page
        elsewhere = [page.location] if page.location else page.links if page.is_html else []
        for link in elsewhere:
            path = urlsplit(link)._replace(fragment="").geturl()
            kind = re.sub(r"=[^&]*|[0-9]+", "0", path)
            if path.startswith("/") and path not in seen and alike[kind] < ALIKE:
                alike[kind] += 1
                seen.add(path)
                waiting.append(path)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", ["admin", "manager", "provider", "customer"])
def test_no_page_takes_it_for_markup(
    app: APIFlask, cast: Cast, hostile_world: None, role: str
) -> None:
    member: Member = getattr(cast, role)
    shown: set[str] = set()
    opened: list[str] = []
    for page in all_pages(Visitor(app, member)):
        # Each page has met the rules, one of which is that no script has a body.
        assert not re.search(r"<script>x|<img src=x|onerror=x[a-z]+\(\)>", page.source), page.path
        assert "49" not in re.findall(r"<img[^{}]*>\{*(\d+)", page.text), page.path
        opened.append(page.path)
        shown |= set(re.findall(r"<script>(x[a-z]+)\(\)</script>", page.text))
    expected = {
        "admin": {"xcustomer", "xprovider", "xmanager", "xrenamed", "xreason", "xkey"},
        "manager": {"xcustomer", "xprovider", "xmanager", "xrenamed", "xkey"},
        "provider": {"xprovider", "xcustomer", "xkey"},
        "customer": {"xcustomer", "xkey"},
    }
    assert expected[role] <= shown, opened
