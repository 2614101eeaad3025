"""The style guide shows every component."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from apiflask import APIFlask
from flask import Flask
from flask.testing import FlaskClient

import billtrack
from billtrack.accounts.access import PERMISSION_ATTRIBUTE
from billtrack.accounts.users.permissions import Permission
from billtrack.entrypoints.app import create_app
from billtrack.platform.config import Settings
from billtrack.platform.extensions import db
from tests.cast import Cast, create_cast
from tests.dashboard import rules
from tests.dashboard.page import Page, Visitor
from tests.styleguide.page import HERE, add_styleguide

pytestmark = pytest.mark.one_database

STATIC = Path(billtrack.__file__).parent / "static" / "css"


@pytest.fixture
def workshop(settings: Settings) -> Iterator[APIFlask]:
    """The app with the style guide."""
    app = create_app(settings)
    add_styleguide(app)
    with app.app_context():
        yield app
        db.session.remove()
        db.engine.dispose()


def show(app: Flask, cast: Cast) -> Page:
    visitor = Visitor(app, cast.customer)
    client: FlaskClient = visitor.client
    return Page(client.get("/styleguide"), "/styleguide")


def test_it_obeys_the_rules_of_every_page(workshop: APIFlask) -> None:
    page = show(workshop, create_cast())
    assert page.status == 200
    rules.check(page)


def test_it_is_for_those_who_are_signed_in(workshop: APIFlask) -> None:
    view = workshop.view_functions["styleguide.show"]
    assert getattr(view, PERMISSION_ATTRIBUTE) is Permission.PROFILE
    assert workshop.test_client().get("/styleguide").status_code == 303


def test_it_shows_a_job_in_each_state_without_asking_for_it(workshop: APIFlask) -> None:
    page = show(workshop, create_cast())
    states = {c for e in page.all("li") for c in e.get("class", "").split() if "job-" in c}
    assert states == {"job-queued", "job-running", "job-completed", "job-failed"}
    (jobs,) = (ul for ul in page.all("ul", class_="rows") if "hx-disable" in ul.attrib)
    assert sum("hx-get" in e.attrib for e in page.root.iter()) == sum(
        "hx-get" in e.attrib for e in jobs.iter()
    )


def test_it_has_a_swatch_for_every_colour() -> None:
    light = (STATIC / "tokens.css").read_text(encoding="utf-8").partition("@media")[0]
    named = set(re.findall(r"--([a-z0-9-]+): #", light))
    shown = re.findall(
        r"\.swatch-([a-z0-9-]+) {\s+fill: var\(--\1\)",
        (HERE / "styleguide.css").read_text(encoding="utf-8"),
    )
    assert set(shown) == named
