"""Every page for every role: what opens, what is forbidden, what does not exist for it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask

from billtrack.accounts.users.models import ApiKey, TokenFamily, UserSession
from billtrack.documents.reports.models import Report
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.jobs.models import Job
from billtrack.usage.records.models import UsageRecord
from tests.cast import Cast, Member, create_import, create_record, create_refused
from tests.dashboard.conftest import RunJobs
from tests.dashboard.page import Visitor, count, create_session

pytestmark = pytest.mark.one_database

ROLES = ("admin", "manager", "provider", "customer", "stranger")

# The path → the status for each of ROLES. The customer is the one that the objects belong to.
PAGES = {
    "/": (200, 200, 200, 303, 303),
    "/customers": (200, 200, 403, 403, 403),
    "/customers/{customer}": (200, 200, 403, 200, 404),
    "/customers/{customer}?month=2026-01": (200, 200, 403, 200, 404),
    "/customers/999": (404, 404, 403, 404, 404),
    "/customers/0": (404, 404, 404, 404, 404),
    "/usage": (200, 200, 200, 200, 200),
    "/usage/export.csv": (200, 200, 200, 200, 200),
    "/usage/export.xlsx": (200, 200, 200, 200, 200),
    "/usage/imports": (200, 200, 200, 403, 403),
    "/usage/imports/{import}": (200, 200, 404, 403, 403),
    "/usage/imports/{import}/refused.csv": (200, 200, 404, 403, 403),
    "/usage/reconciliation": (200, 200, 200, 403, 403),
    "/journal": (200, 200, 200, 403, 403),
    "/journal/sources/{source}": (200, 200, 404, 403, 403),
    "/journal/rejected": (200, 200, 200, 403, 403),
    "/journal/rejected/{refused}": (200, 200, 404, 403, 403),
    "/reports": (200, 200, 403, 200, 200),
    "/reports/jobs/{job}": (200, 200, 403, 200, 404),
    "/reports/{job}/{file}": (200, 200, 403, 200, 404),
    "/docs/api": (200, 200, 200, 200, 200),
    "/settings": (303, 303, 303, 303, 303),
    "/settings/profile": (200, 200, 200, 200, 200),
    "/settings/second-factor": (200, 200, 200, 200, 200),
    "/settings/second-factor/code.svg": (404, 404, 404, 404, 404),
    "/settings/sessions": (200, 200, 200, 200, 200),
    "/settings/api-keys": (200, 200, 200, 200, 200),
    "/settings/api-keys/new": (200, 200, 200, 200, 200),
    "/settings/api-keys/{key}/revoke": (200, 404, 404, 200, 404),
    "/settings/api-keys/{key}/rotate": (200, 404, 404, 200, 404),
    "/settings/audit": (200, 403, 403, 403, 403),
    "/settings/accounts": (200, 200, 403, 403, 403),
    "/settings/accounts/new": (200, 200, 403, 403, 403),
    "/settings/accounts/{customer}": (200, 200, 403, 403, 403),
    "/settings/accounts/{customer}/deactivate": (200, 200, 403, 403, 403),
    "/settings/accounts/{customer}/erase": (200, 403, 403, 403, 403),
    "/settings/health": (200, 403, 403, 403, 403),
    "/sign-in": (303, 303, 303, 303, 303),
    "/sign-in/code": (303, 303, 303, 303, 303),
    "/set-up": (404, 404, 404, 404, 404),
    "/forgot-password": (200, 200, 200, 200, 200),
    "/choose-password": (404, 404, 404, 404, 404),
    "/no/such/page": (404, 404, 404, 404, 404),
}
FORMS = {
    "/usage/records": (422, 422, 422, 403, 403),
    "/usage/imports": (422, 422, 422, 403, 403),
    "/usage/imports/{import}/start": (303, 303, 404, 403, 403),
    "/usage/imports/{import}/resume": (303, 303, 404, 403, 403),
    "/usage/imports/{import}/cancel": (303, 303, 404, 403, 403),
    "/usage/reconciliation": (422, 422, 422, 403, 403),
    "/journal/rejected/{refused}": (422, 422, 404, 403, 403),
    "/journal/rejected/{refused}/alike": (303, 303, 404, 403, 403),
    "/reports": (422, 422, 403, 422, 422),
    "/reports/jobs/{job}/retry": (409, 409, 403, 409, 404),
    "/settings/profile": (422, 422, 422, 422, 422),
    "/settings/password": (422, 422, 422, 422, 422),
    "/settings/second-factor": (422, 422, 422, 422, 422),
    "/settings/second-factor/confirm": (422, 422, 422, 422, 422),
    "/settings/second-factor/cancel": (303, 303, 303, 303, 303),
    "/settings/second-factor/recovery-codes": (422, 422, 422, 422, 422),
    "/settings/second-factor/off": (422, 422, 422, 422, 422),
    "/settings/api-keys": (422, 422, 422, 422, 422),
    "/settings/accounts": (422, 422, 403, 403, 403),
    "/settings/accounts/{customer}": (422, 422, 403, 403, 403),
    "/settings/accounts/{customer}/invite": (303, 303, 403, 403, 403),
    "/settings/accounts/{customer}/password-reset": (303, 303, 403, 403, 403),
    "/settings/accounts/{customer}/second-factor/reset": (303, 403, 403, 403, 403),
    "/settings/accounts/{customer}/deactivate": (303, 303, 403, 403, 403),
    "/settings/accounts/{customer}/reactivate": (303, 303, 403, 403, 403),
    "/settings/accounts/{customer}/export": (200, 404, 404, 200, 404),
    "/settings/accounts/{customer}/erase": (422, 403, 403, 403, 403),
    "/settings/api-keys/{key}/rotate": (422, 404, 404, 422, 404),
    "/settings/api-keys/{key}/revoke": (303, 404, 404, 303, 404),
    "/settings/sessions/{session}/revoke": (404, 404, 404, 303, 404),
    "/settings/programs/{program}/revoke": (404, 404, 404, 303, 404),
    "/settings/sessions/revoke-others": (303, 303, 303, 303, 303),
    "/settings/sessions/revoke-all": (303, 303, 303, 303, 303),
    "/sign-out": (303, 303, 303, 303, 303),
}
PUBLIC = {
    "/sign-in": 200,
    "/sign-in/code": 303,
    "/set-up": 403,
    "/forgot-password": 200,
    "/choose-password": 404,
    "/no/such/page": 404,
}
FRAGMENTS = {"dashboard.check_usage_field"}
"""Answers a part of a page; tests/accounts/access/test_access.py tries it as every role."""
OPEN_ENDPOINTS = {
    *("dashboard.sign_in", "dashboard.sign_in_code", "dashboard.set_up"),
    *("dashboard.forgot_password", "dashboard.choose_password"),
}


@pytest.fixture
def names(app: APIFlask, cast: Cast, run_jobs: RunJobs) -> dict[str, Any]:
    """A customer with usage and a finished report."""
    create_record(cast, quantity=500000)
    create_record(cast, quantity=7, recorded_by=cast.other_provider)
    visitor = Visitor(app, cast.manager)
    visitor.send(visitor.open("/reports"), "/reports", {"customer": str(cast.customer.id)})
    run_jobs()
    report = db.session.query(Report).one()
    assert report.path is not None
    file = report.path.rpartition("/")[2]
    create_session(cast.customer)
    now = datetime.now(UTC)
    family = TokenFamily(
        user_id=cast.customer.id, created_at=now, renewed_at=now, expires_at=now + timedelta(days=1)
    )
    with transaction() as session:
        session.add(family)
    return {
        "program": family.id,
        "source": cast.other_provider.id,
        "refused": create_refused(cast, recorded_by=cast.other_provider),
        "customer": cast.customer.id,
        "job": report.job_id,
        "import": create_import(cast.other_provider),
        "file": file,
        "key": db.session.query(ApiKey).filter_by(user_id=cast.customer.id).one().id,
        "session": db.session.query(UserSession).filter_by(user_id=cast.customer.id).one().id,
    }


def member(cast: Cast, role: str) -> Member:
    found: Member = getattr(cast, role)
    return found


ENDING = {"/settings/sessions/revoke-all", "/sign-out"}
"""Forms that end the session: each is sent in one of its own."""


def test_it_opens_to_each_role_what_the_table_says(
    app: APIFlask, cast: Cast, names: dict[str, Any]
) -> None:
    for number, role in enumerate(ROLES):
        visitor = Visitor(app, member(cast, role))
        found = {path: visitor.request("GET", path.format(**names)) for path in PAGES}
        assert {path: page.status for path, page in found.items()} == {
            path: statuses[number] for path, statuses in PAGES.items()
        }, role
        own_words = found.pop("/choose-password")
        assert "link" in own_words.text
        refused = [page for page in found.values() if page.status in {403, 404}]
        assert all(f"Error {page.status}" in page.text for page in refused)


def test_it_takes_from_each_role_the_forms_that_the_table_says(
    app: APIFlask, cast: Cast, names: dict[str, Any]
) -> None:
    for number, role in enumerate(ROLES):
        found = {}
        for path in FORMS:
            if path in {next(iter(FORMS)), *ENDING}:
                visitor = Visitor(app, member(cast, role))
                token = visitor.open("/usage").values("/sign-out")["csrf_token"]
            answer = visitor.request("POST", path.format(**names), data={"csrf_token": token})
            found[path] = answer.status
        assert found == {path: statuses[number] for path, statuses in FORMS.items()}, role


def test_it_asks_a_visitor_to_sign_in_and_remembers_the_page(
    app: APIFlask, cast: Cast, names: dict[str, Any]
) -> None:
    visitor = Visitor(app)
    for path in PAGES:
        if path in PUBLIC or path == "/customers/0":
            continue
        page = visitor.request("GET", path.format(**names))
        assert page.status == 303, path
        assert page.location is not None
        assert page.location.startswith("/sign-in"), path
        asked = {} if path == "/" else {"next": path.format(**names)}
        with app.test_request_context(page.location) as context:
            assert context.request.args.to_dict() == asked
    assert {path: visitor.request("GET", path).status for path in PUBLIC if path != "/set-up"} == {
        path: status for path, status in PUBLIC.items() if path != "/set-up"
    }


def test_it_takes_no_form_from_a_visitor(app: APIFlask, cast: Cast, names: dict[str, Any]) -> None:
    visitor = Visitor(app)
    token = visitor.open("/sign-in").values("/sign-in")["csrf_token"]
    for path in FORMS:
        page = visitor.request("POST", path.format(**names), data={"csrf_token": token})
        assert (page.status, page.location) == (303, "/sign-in")


def test_the_tables_leave_out_no_page(app: APIFlask) -> None:
    rules = [r for r in app.url_map.iter_rules() if r.endpoint.startswith(("dashboard.", "docs."))]
    adapter = app.url_map.bind("localhost")
    names = (
        *("customer", "job", "import", "file", "key", "session", "program"),
        *("source", "refused"),
    )
    known = {
        adapter.match(path.partition("?")[0].format(**dict.fromkeys(names, 1)), method)[0]
        for method, table in (("GET", PAGES), ("POST", FORMS))
        for path in table
        if path not in {"/customers/0", "/no/such/page"}
    }
    assert {rule.endpoint for rule in rules} == known | FRAGMENTS


def test_it_takes_no_form_without_its_token(
    app: APIFlask, cast: Cast, names: dict[str, Any]
) -> None:
    visitor = Visitor(app, cast.admin)
    before = count(UsageRecord), count(Job)
    data = {
        "user_id": cast.customer.id,
        "event": "api_calls",
        "quantity": "5",
        "idempotency_key": "k",
        "customer": cast.customer.id,
        "format": "pdf",
    }
    other = Visitor(app, cast.customer).open("/usage").values("/sign-out")["csrf_token"]
    for token in ({}, {"csrf_token": ""}, {"csrf_token": "x"}, {"csrf_token": other}):
        for path in (*FORMS, "/sign-in", "/set-up", "/forgot-password"):
            page = visitor.request("POST", path.format(**names), data={**data, **token})
            assert page.status == 400, path
            assert "Go back and send it again." in page.text
    assert (count(UsageRecord), count(Job)) == before
    assert visitor.request("GET", "/usage").status == 200


def test_it_never_answers_api_paths_to_a_cookie_nor_pages_to_a_key(
    app: APIFlask, cast: Cast, names: dict[str, Any]
) -> None:
    visitor = Visitor(app, cast.admin)
    assert visitor.request("GET", "/api/v1/users").status == 401
    assert visitor.request("GET", "/api/v1/openapi.json").status == 200
    key = {"Authorization": f"Bearer {cast.admin.key}"}
    assert Visitor(app).request("GET", "/customers", headers=key).status == 401


def test_it_offers_each_role_its_own_navigation(app: APIFlask, cast: Cast) -> None:
    offered = {}
    for role in ROLES:
        page = Visitor(app, member(cast, role)).open("/usage")
        links = [a for a in page.all("a") if a.get("class") == "nav-link"]
        offered[role] = [a.attrib["href"] for a in links]
        assert [a.attrib["href"] for a in links if a.get("aria-current")] == ["/usage"]
    everything = ["/", "/customers", "/usage", "/journal", "/reports", "/docs/api", "/settings"]
    assert offered["admin"] == offered["manager"] == everything
    assert offered["provider"] == ["/", "/usage", "/journal", "/docs/api", "/settings"]
    assert offered["customer"] == offered["stranger"]
    assert offered["customer"] == ["/", "/usage", "/reports", "/docs/api", "/settings"]


def test_it_marks_where_in_the_navigation_a_page_belongs(
    app: APIFlask, cast: Cast, names: dict[str, Any]
) -> None:
    for role, path, entry in (
        ("admin", "/", "/"),
        ("admin", "/customers/{customer}", "/customers"),
        ("customer", "/customers/{customer}", "/"),
        ("customer", "/reports/jobs/{job}", "/reports"),
    ):
        page = Visitor(app, member(cast, role)).open(path.format(**names))
        current = [a.attrib["href"] for a in page.all("a", aria_current="page")]
        assert current == [entry]


def test_it_says_so_when_a_form_is_opened_as_a_page(app: APIFlask, cast: Cast) -> None:
    for path in ("/usage/records", "/sign-out", "/reports/jobs/1/retry"):
        page = Visitor(app, cast.admin).request("GET", path)
        assert page.status == 405
        assert page.answer.headers["Allow"]
