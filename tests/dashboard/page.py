"""Pages as a browser without JavaScript meets them; every page that is opened is checked.

A `Visitor` keeps cookies, follows forms and returns a `Page`. `rules` says what must hold
of each page; in addition the same visitor opens the links on it, in each file of tests
and on each database a few of every kind.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property
from typing import Any
from urllib.parse import urljoin, urlsplit
from xml.etree.ElementTree import Element

from flask import Flask
from tinyhtml5.parser import HTMLParser  # type: ignore[import-untyped]
from werkzeug.test import TestResponse

from billtrack.accounts.access import SESSION_COOKIE_KEY
from billtrack.accounts.sign_in.sessions import LIFETIME
from billtrack.accounts.users.models import UserSession
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.cast import Member
from tests.dashboard import rules

API_REFERENCE = "/docs/api"
REFERENCES: dict[str | None, dict[str, Page]] = {}
"""The API reference as each role has seen it in any app of this process."""

FORM = "application/x-www-form-urlencoded"
ALIKE = 3
"""So many links that differ in numbers only are opened from pages that do."""

OPENED: Counter[tuple[object, ...]] = Counter()
"""How many of each kind were opened so far."""


class Page:
    """An answer, and what a reader finds on it."""

    def __init__(self, answer: TestResponse, path: str) -> None:
        self.answer = answer
        self.path = path
        self.status = answer.status_code
        self.location: str | None = answer.headers.get("Location")

    @property
    def is_html(self) -> bool:
        return self.answer.mimetype == "text/html" and self.location is None

    @cached_property
    def source(self) -> str:
        return self.answer.get_data(as_text=True)

    @cached_property
    def root(self) -> Element:
        parser = HTMLParser(namespace_html_elements=False)
        root: Element = parser.parse(self.source)
        self.parse_errors = [(code, data) for _, code, data in parser.errors]
        return root

    @property
    def text(self) -> str:
        return text_of(self.root)

    @property
    def heading(self) -> str:
        return text_of(self.find("h1"))

    @property
    def alerts(self) -> list[str]:
        """What is said above the form or the page: flashes and problems as a whole."""
        return [text_of(e) for e in self.all("p") if e.get("role") in {"alert", "status"}]

    @property
    def links(self) -> list[str]:
        return [a.attrib["href"] for a in self.all("a") if "href" in a.attrib]

    def all(self, tag: str, **attributes: str) -> list[Element]:
        wanted = {name.rstrip("_").replace("_", "-"): text for name, text in attributes.items()}
        return [e for e in self.root.iter(tag) if wanted.items() <= e.attrib.items()]

    def find(self, tag: str, **attributes: str) -> Element:
        """Return the one element of this kind."""
        found = self.all(tag, **attributes)
        assert len(found) == 1, f"{len(found)} of {tag} {attributes} in {self.path}"
        return found[0]

    def figure(self, label: str) -> str:
        """Return what the key figure of this label says, its note included."""
        (found,) = (e for e in self.all("div") if _has_class(e, "figure") and _dt(e) == label)
        return text_of(found).removeprefix(label).strip()

    def table(self, caption: str) -> list[list[str]]:
        """Return the rows of the body and foot of the table, cell by cell."""
        (found,) = (t for t in self.all("table") if caption in text_of(t[0]))
        rows = [row for part in found if part.tag in {"tbody", "tfoot"} for row in part]
        return [[text_of(cell) for cell in row] for row in rows]

    def card(self, title: str) -> Element:
        """Return the section under this heading."""
        (found,) = (
            section
            for section in self.all("section")
            if any(text_of(e).startswith(title) for e in section.iter("h2"))
        )
        return found

    def form(self, action: str) -> Element:
        """Return the one form that is sent to this path, or to the page's own."""
        (found,) = (
            f for f in self.all("form") if urlsplit(f.get("action", self.path)).path == action
        )
        return found

    def values(self, action: str) -> dict[str, str]:
        """Return what a browser would send with the form as it stands."""
        return dict(_values(self.form(action)))

    def choices(self, action: str, name: str) -> list[str]:
        (select,) = (s for s in self.form(action).iter("select") if s.get("name") == name)
        return [text_of(option) for option in select.iter("option")]

    def error(self, action: str, name: str) -> str | None:
        """Return what is said beside this field, by the id that describes it."""
        (field,) = (
            f for f in self.form(action).iter() if f.tag in rules.CONTROLS and f.get("name") == name
        )
        assert (field.get("aria-invalid") == "true") == bool(self._error_of(field))
        return self._error_of(field)

    def _error_of(self, field: Element) -> str | None:
        ids = field.get("aria-describedby", "").split()
        return next((text_of(self.find("p", id=i)) for i in ids if i.endswith("-error")), None)


class Visitor:
    """Somebody with a browser; pass a member of the cast for who is signed in."""

    def __init__(self, app: Flask, member: Member | None = None) -> None:
        self.app = app
        self.client = app.test_client()
        # What the same account opened before in this test need not be opened again.
        key = f"opened by {member.id if member else 'a visitor'}"
        self._opened: dict[str, Page] = app.extensions.setdefault(key, {})
        self._role = member.user.role if member else None
        self._id = member.id if member else None
        if member is not None:
            self.plant(create_session(member))

    def plant(self, token: str) -> None:
        """Put a session's secret into the cookie, as signing in does."""
        with self.app.app_context(), self.client.session_transaction() as cookie:
            cookie[SESSION_COOKIE_KEY] = token

    @property
    def cookie(self) -> str | None:
        found = self.client.get_cookie("billtrack_session")
        return found.value if found else None

    def open(self, path: str, status: int = 200, **options: Any) -> Page:
        """Open the page, expecting this status, and check it with all its links."""
        page = self.request("GET", path, **options)
        assert page.status == status, f"{path}: {page.status}\n{page.source[:2000]}"
        return page

    def send(
        self, page: Page, action: str, typed: Mapping[str, Any] | None = None, **options: Any
    ) -> Page:
        """Send a form of the page with these fields typed over what stands in it."""
        data = {**page.values(action), **(typed or {})}
        to = page.form(action).get("action", page.path)
        return self.request("POST", to, data=data, content_type=FORM, **options)

    def follow(self, page: Page) -> Page:
        """Go where the answer sends the browser."""
        assert page.status == 303, f"{page.path}: {page.status}\n{page.source[:2000]}"
        assert page.location is not None
        return self.open(page.location)

    def request(self, method: str, path: str, **options: Any) -> Page:
        page = self._fetch(method, path, **options)
        if page.is_html and "HX-Request" not in options.get("headers", {}):
            rules.check(page)
            self._check_addresses(page)
        return page

    def _fetch(self, method: str, path: str, **options: Any) -> Page:
        # A context of its own, as on a server: nothing of one request is left to the next.
        with self.app.app_context():
            answer = self.client.open(
                path.partition("#")[0], method=method, buffered=True, **options
            )
        return Page(answer, path)

    def _check_addresses(self, page: Page) -> None:
        """Open links of every kind, unless enough of the kind were opened before."""
        for address in dict.fromkeys(rules.addresses(page)):
            assert not urlsplit(address).netloc, f"{page.path} leads elsewhere: {address}"
            absolute = urljoin(page.path, address)
            target, _, fragment = absolute.partition("#")
            if target == page.path.partition("#")[0]:
                found = page
            else:
                OPENED[kind := self._kind_of_link(page, absolute)] += 1
                if OPENED[kind] > ALIKE:
                    continue
                known = self._opened
                if target == API_REFERENCE:  # the same in every app, and slow to make
                    known = REFERENCES.setdefault(self._role, {})
                if target not in known:
                    known[target] = self._fetch("GET", target)
                found = known[target]
                assert found.status < 400, f"{page.path} links {target}: {found.status}"
            if fragment:
                found = self._at_end(found)
                ids = {e.get("id") for e in found.root.iter()}
                assert fragment in ids, f"{page.path} links {absolute}: no such place"

    def _kind_of_link(self, page: Page, absolute: str) -> tuple[object, ...]:
        tests = os.environ["PYTEST_CURRENT_TEST"].partition("::")[0]
        with self.app.app_context():
            database = db.engine.name
        addresses = (urlsplit(page.path).path, absolute)
        kind = [re.sub(r"[0-9]+", "0", address) for address in addresses]
        return (tests, database, self._id, page.status, *kind)

    def _at_end(self, page: Page) -> Page:
        while page.status in {302, 303} and page.location:
            page = self._fetch("GET", page.location)
        return page


def create_session(member: Member, **changes: Any) -> str:
    """Store a session of the member, as signing in does, and return its secret."""
    token, now = secrets.token_urlsafe(32), datetime.now(UTC)
    values = {"created_at": now, "seen_at": now, "expires_at": now + LIFETIME, **changes}
    token_hash = hashlib.sha256(token.encode()).hexdigest()
    with transaction() as session:
        session.add(UserSession(token_hash=token_hash, user_id=member.id, **values))
    return token


def count(model: type) -> int:
    """Return how many rows there are now."""
    db.session.rollback()
    return db.session.query(model).count()


def text_of(element: Element) -> str:
    """Return the text as it is read, with single spaces."""
    text = " ".join(" ".join(element.itertext()).split())
    return re.sub(r" ([,.:;”])", r"\1", text)


def _values(form: Element) -> Iterator[tuple[str, str]]:
    for control in form.iter():
        name = control.get("name", "")
        if control.tag == "select":
            options = list(control.iter("option"))
            chosen = next((o for o in options if "selected" in o.attrib), next(iter(options), None))
            if chosen is not None:
                yield name, chosen.get("value", text_of(chosen))
        elif control.tag == "textarea":
            yield name, "".join(control.itertext()).removeprefix("\r").removeprefix("\n")
        elif control.tag == "input" and control.get("type") != "submit":
            yield name, control.get("value", "")


def _has_class(element: Element, name: str) -> bool:
    return name in element.get("class", "").split()


def _dt(element: Element) -> str:
    return next((text_of(e) for e in element.iter("dt")), "")
