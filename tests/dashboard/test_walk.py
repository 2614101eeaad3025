"""A walk through everything that a role is offered: no link and no form leads to a refusal."""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import urljoin, urlsplit

import pytest
from apiflask import APIFlask

from billtrack.accounts.access import PERMISSION_ATTRIBUTE
from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Role, granted
from billtrack.core.periods import Month
from billtrack.documents.reports.operations import request_report
from billtrack.platform.audit import Actor
from billtrack.platform.db import transaction
from billtrack.platform.jobs.models import Job
from tests.cast import (
    PASSWORD,
    Cast,
    Member,
    create_import,
    create_record,
    create_user,
    sign_in,
)
from tests.dashboard import rules
from tests.dashboard.page import Page, Visitor, create_session

ALIKE = 10
"""So many addresses that differ in numbers only are opened, of each kind."""
MOST = 200
"""Pages; a site that has more has a link that leads on for ever."""
REFUSALS = {400, 401, 403, 404, 405}


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
@pytest.mark.parametrize("role", Role)
def test_it_offers_a_role_only_what_it_may(app: APIFlask, cast: Cast, role: Role) -> None:
    user = create_user(role=role, email="walker@test.example", password=PASSWORD)
    create_things(app, cast, user)
    walk = Walk(app)
    with app.app_context():
        sign_in(walk.browser, user)
    walk.go("/")
    assert walk.wrong == []
    assert {"/usage", "/settings/profile", "/settings/api-keys"} <= walk.opened
    assert {"/settings/password", "/sign-out"} <= set(walk.forms)
    assert [path for path in walk.forms if not may_send(app, role, path)] == []
    assert refused(app, Member(user, ""), walk.forms) == []


def create_things(app: APIFlask, cast: Cast, user: User) -> None:
    """Create what pages have links and buttons for, about the user where it may be."""
    me = Member(user, "")
    customer = me if user.role == Role.CUSTOMER else cast.customer
    for recorder in (me if user.role == Role.PROVIDER else cast.provider, cast.other_provider):
        create_record(cast, user=customer, recorded_by=recorder)
    if user.role != Role.CUSTOMER:
        create_import(me)
    create_session(me)
    create_user(email="known@test.example", password=PASSWORD)
    app.extensions["billtrack.storage"].put("1/1/report.pdf", b"%PDF-")
    now = datetime.now(UTC)
    with transaction() as session:
        session.get_one(User, cast.other_customer.id).deactivated_at = now
        about = session.get_one(User, customer.id)
        for status in ("completed", "failed"):
            report = request_report(
                about, Month(2026, 10).dates, file_format="pdf", actor=Actor(user.id), now=now
            )
            report.path = "1/1/report.pdf"
            job = session.get_one(Job, report.job_id)
            job.status, job.finished_at = status, now


@dataclass
class Walk:
    """Opens every link of every page, breadth first, and gathers the forms."""

    app: APIFlask
    opened: set[str] = field(default_factory=set)
    forms: dict[str, dict[str, str]] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.browser = self.app.test_client()

    def go(self, start: str) -> None:
        """Walk from here until nothing new is left."""
        waiting, known, alike = deque([(start, "the start")]), {start}, Counter[str]()
        while waiting:
            address, source = waiting.popleft()
            for found in self._open(address, source):
                alike[kind := re.sub(r"[0-9]+", "0", found)] += found not in known
                if found not in known and alike[kind] <= ALIKE:
                    known.add(found)
                    waiting.append((found, address))

    def _open(self, address: str, source: str) -> Iterator[str]:
        with self.app.app_context():  # as on a server: nothing of one request is left to the next
            answer = self.browser.get(address, buffered=True)
        page = Page(answer, address)
        self.opened.add(urlsplit(address).path)
        assert len(self.opened) <= MOST
        if page.status >= 400:
            self.wrong.append(f"{source} links {address}: {page.status}")
        if page.location is not None:
            yield page.location
        if not page.is_html:
            return
        for form in page.all("form", method="post"):
            action = urljoin(address, form.get("action", address))
            path = urlsplit(action).path
            self.forms.setdefault(path, page.values(path))
        for link in rules.addresses(page):
            found = urljoin(address, link).partition("#")[0]
            if urlsplit(found).netloc:
                self.wrong.append(f"{address} leads elsewhere: {found}")
            else:
                yield found


def may_send(app: APIFlask, role: Role, path: str) -> bool:
    """Tell whether the role has the permission that the route of a form asks for."""
    endpoint, _ = app.url_map.bind("localhost").match(path, method="POST")
    return granted(role, getattr(app.view_functions[endpoint], PERMISSION_ATTRIBUTE)) is not None


def refused(app: APIFlask, member: Member, forms: dict[str, dict[str, str]]) -> list[str]:
    """Send each form as it stands, in a new session, and return which were refused."""
    # The forms carry the tokens of another session; tests/dashboard/test_access.py tries tokens.
    app.config["WTF_CSRF_ENABLED"] = False
    found = []
    for path, typed in forms.items():
        visitor = Visitor(app, member)
        with app.app_context():
            status = visitor.client.post(path, data=typed, buffered=True).status_code
        if status in REFUSALS or status >= 500:
            found.append(f"{path}: {status}")
    return found
