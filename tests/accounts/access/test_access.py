"""Who may do what: every route, every role, one's own things and those of others."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest
from apiflask import APIFlask
from flask import current_app
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from billtrack.accounts.access import SESSION_COOKIE_KEY
from billtrack.accounts.credentials.api_keys import create_api_key, revoke_api_key
from billtrack.accounts.sign_in import sessions
from billtrack.accounts.users.models import ApiKey, TokenFamily, User, UserSession
from billtrack.accounts.users.permissions import READ_ONLY, Breadth, Reach, Role
from billtrack.billing.plans.operations import (
    create_plan,
    create_version,
    publish_version,
    subscribe,
)
from billtrack.core.periods import Month
from billtrack.documents.reports.operations import request_report
from billtrack.platform.audit import Actor
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.platform.jobs.models import Job
from billtrack.usage.sources.writing import write_noted
from tests.cast import SYSTEM, Cast, Member, as_person, create_import, create_record, create_refused

pytestmark = pytest.mark.one_database

MONTH = Month(2026, 10)
ROLES = ("admin", "manager", "provider", "customer")
OWNERS = ("own", "foreign")

ALL = "ok ok"
"""Own and foreign things alike."""
OWN = "ok 404"
"""One's own; those of others are not there."""
SELF = "422 422"
"""An empty form about oneself: let in, and told what is missing."""
NOTHING = "404 404"
"""Nothing of the kind is there."""
KEY = "ok 403"
"""By API key only customers: what is foreign here is an account that may do more."""
NONE = "403 403"
"""The role lacks the permission, whosever it is."""

QUOTE = {"currency": "USD", "charges": [], "usage": {}}
RECORD = {"quantity": 1, "event": "api_calls", "user_id": "{user}"}
BATCH = {"records": [RECORD]}

# endpoint → method, path, body, and what admin, manager, provider and customer get.
# A customer's API key reads only: what a customer may write, it writes on the pages.
API: dict[str, tuple[str, str, Any, tuple[str, str, str, str]]] = {
    "api.record_usage": ("POST", "/api/v1/usage/", RECORD, (ALL, ALL, ALL, NONE)),
    "api.record_batch": ("POST", "/api/v1/usage/batch", BATCH, (ALL, ALL, ALL, NONE)),
    "api.show_record": ("GET", "/api/v1/usage/{record}", None, (ALL, ALL, OWN, OWN)),
    "api.list_usage": ("GET", "/api/v1/usage", None, (ALL, ALL, ALL, ALL)),
    "api.summarize_usage": ("GET", "/api/v1/usage/summary", None, (ALL, ALL, ALL, ALL)),
    "api.reverse_record": (
        "POST",
        "/api/v1/usage/{record}/reverse",
        {"reason": "sent twice"},
        (ALL, ALL, OWN, NONE),
    ),
    "api.list_sources": ("GET", "/api/v1/sources", None, (ALL, ALL, ALL, NONE)),
    "api.show_source": ("GET", "/api/v1/sources/{source}", None, (ALL, ALL, OWN, NONE)),
    "api.list_source_hours": (
        "GET",
        "/api/v1/sources/{source}/hours",
        None,
        (ALL, ALL, OWN, NONE),
    ),
    "api.list_rejected_records": ("GET", "/api/v1/rejected-records", None, (ALL, ALL, ALL, NONE)),
    "api.show_rejected_record": (
        "GET",
        "/api/v1/rejected-records/{refused}",
        None,
        (ALL, ALL, OWN, NONE),
    ),
    "api.replay_rejected_record": (
        "POST",
        "/api/v1/rejected-records/{refused}/replay",
        {"event": "api_calls"},
        (ALL, ALL, OWN, NONE),
    ),
    "api.reconcile_usage": (
        "POST",
        "/api/v1/usage/reconciliation",
        {"totals": [], "account_id": "{source}", "from": "2026-10-01", "to": "2026-10-02"},
        (ALL, ALL, OWN, NONE),
    ),
    "api.list_users": ("GET", "/api/v1/users", None, (ALL, ALL, NONE, ALL)),
    "api.create_user": (
        "POST",
        "/api/v1/users",
        {"email": "{new}@test.example", "name": "New"},
        (ALL, ALL, NONE, NONE),
    ),
    "api.show_user": ("GET", "/api/v1/users/{managed}", None, (ALL, OWN, NONE, OWN)),
    "api.change_user": (
        "PATCH",
        "/api/v1/users/{managed}",
        {"name": "Renamed"},
        (ALL, OWN, NONE, NONE),
    ),
    "api.deactivate_user": (
        "POST",
        "/api/v1/users/{victim}/deactivate",
        None,
        (KEY, OWN, NONE, NONE),
    ),
    "api.reactivate_user": (
        "POST",
        "/api/v1/users/{victim}/reactivate",
        None,
        (KEY, OWN, NONE, NONE),
    ),
    "api.invite_user": ("POST", "/api/v1/users/{victim}/invite", None, (KEY, OWN, NONE, NONE)),
    "api.reset_password": (
        "POST",
        "/api/v1/users/{known}/password-reset",
        None,
        (KEY, OWN, NONE, NONE),
    ),
    "api.export_user": ("POST", "/api/v1/users/{mine}/export", None, (ALL, OWN, OWN, OWN)),
    "api.erase_user": (
        "POST",
        "/api/v1/users/{victim}/erase",
        {"email": "nobody@test.example"},
        (SELF, NONE, NONE, NONE),
    ),
    "api.show_me": ("GET", "/api/v1/me", None, (ALL, ALL, ALL, NONE)),
    "api.list_api_keys": ("GET", "/api/v1/api-keys", None, (ALL, ALL, ALL, ALL)),
    "api.create_api_key": ("POST", "/api/v1/api-keys", {"name": "new"}, (ALL, ALL, ALL, NONE)),
    "api.rotate_api_key": ("POST", "/api/v1/api-keys/{key}/rotate", None, (ALL, OWN, OWN, NONE)),
    "api.revoke_api_key": ("POST", "/api/v1/api-keys/{key}/revoke", None, (ALL, OWN, OWN, NONE)),
    "api.list_meters": ("GET", "/api/v1/meters", None, (ALL, ALL, ALL, ALL)),
    "api.show_meter": ("GET", "/api/v1/meters/api_calls", None, (ALL, ALL, ALL, ALL)),
    "api.list_plans": ("GET", "/api/v1/plans", None, (ALL, ALL, NONE, ALL)),
    "api.show_plan": ("GET", "/api/v1/plans/{plan}", None, (ALL, ALL, NONE, OWN)),
    "api.list_subscriptions": (
        "GET",
        "/api/v1/users/{user}/subscriptions",
        None,
        (ALL, ALL, NONE, OWN),
    ),
    "api.show_statement": ("GET", "/api/v1/users/{user}/statement", None, (ALL, ALL, NONE, OWN)),
    "api.quote": ("POST", "/api/v1/quote", QUOTE, (ALL, ALL, ALL, ALL)),
    "api.create_report": ("POST", "/api/v1/reports/{user}", None, (ALL, ALL, NONE, NONE)),
    "api.create_reports": ("POST", "/api/v1/reports", {"user_ids": "all"}, (ALL, ALL, NONE, NONE)),
    "api.show_report_status": (
        "GET",
        "/api/v1/reports/status/{report}",
        None,
        (ALL, ALL, NONE, OWN),
    ),
    "api.list_audit_entries": ("GET", "/api/v1/audit", None, (ALL, NONE, NONE, NONE)),
    "api.list_jobs": ("GET", "/api/v1/jobs", None, (ALL, ALL, ALL, ALL)),
    "api.show_job": ("GET", "/api/v1/jobs/{job}", None, (ALL, ALL, OWN, OWN)),
    "api.retry_job": ("POST", "/api/v1/jobs/{job}/retry", None, (ALL, ALL, OWN, NONE)),
    "api.show_openapi": ("GET", "/api/v1/openapi.json", None, (ALL, ALL, ALL, NONE)),
}
PAGES: dict[str, tuple[str, str, Any, tuple[str, str, str, str]]] = {
    "dashboard.overview": ("GET", "/", None, (ALL, ALL, ALL, ALL)),
    "dashboard.customers": ("GET", "/customers", None, (ALL, ALL, NONE, NONE)),
    "dashboard.customer": ("GET", "/customers/{user}", None, (ALL, ALL, NONE, OWN)),
    "dashboard.usage": ("GET", "/usage", None, (ALL, ALL, ALL, ALL)),
    "dashboard.record_usage": (
        "POST",
        "/usage/records",
        {**RECORD, "idempotency_key": "{new}"},
        (ALL, ALL, ALL, NONE),
    ),
    "dashboard.journal": ("GET", "/journal", None, (ALL, ALL, ALL, NONE)),
    "dashboard.journal_source": (
        "GET",
        "/journal/sources/{source}",
        None,
        (ALL, ALL, OWN, NONE),
    ),
    "dashboard.rejected_records": ("GET", "/journal/rejected", None, (ALL, ALL, ALL, NONE)),
    "dashboard.rejected_record": (
        "GET",
        "/journal/rejected/{refused}",
        None,
        (ALL, ALL, OWN, NONE),
    ),
    "dashboard.replay_rejected": (
        "POST",
        "/journal/rejected/{refused}",
        {},
        (SELF, SELF, "422 404", NONE),
    ),
    "dashboard.replay_all_alike": (
        "POST",
        "/journal/rejected/{refused}/alike",
        None,
        (ALL, ALL, OWN, NONE),
    ),
    "dashboard.reports": ("GET", "/reports", None, (ALL, ALL, NONE, ALL)),
    "dashboard.generate_report": (
        "POST",
        "/reports",
        {"customer": "{user}", "month": "", "from": "2026-10-01", "to": "2026-10-02"}
        | {"format": "pdf"},
        (ALL, ALL, NONE, "ok 422"),
    ),
    "dashboard.report_job": ("GET", "/reports/jobs/{report}", None, (ALL, ALL, NONE, OWN)),
    "dashboard.retry_job": ("POST", "/reports/jobs/{report}/retry", None, (ALL, ALL, NONE, OWN)),
    "dashboard.download": ("GET", "/reports/{report}/{file}", None, (ALL, ALL, NONE, OWN)),
    "dashboard.export_usage": ("GET", "/usage/export.csv", None, (ALL, ALL, ALL, ALL)),
    "dashboard.check_usage_field": (
        "GET",
        "/usage/records/check/quantity?quantity=5",
        None,
        (ALL, ALL, ALL, NONE),
    ),
    "dashboard.usage_imports": ("GET", "/usage/imports", None, (ALL, ALL, ALL, NONE)),
    "dashboard.import_usage": ("POST", "/usage/imports", {}, (SELF, SELF, SELF, NONE)),
    "dashboard.usage_import": ("GET", "/usage/imports/{imported}", None, (ALL, ALL, OWN, NONE)),
    "dashboard.refused_lines": (
        "GET",
        "/usage/imports/{imported}/refused.csv",
        None,
        (ALL, ALL, OWN, NONE),
    ),
    "dashboard.start_import": (
        "POST",
        "/usage/imports/{imported}/start",
        None,
        (ALL, ALL, OWN, NONE),
    ),
    "dashboard.resume_import": (
        "POST",
        "/usage/imports/{imported}/resume",
        None,
        (ALL, ALL, OWN, NONE),
    ),
    "dashboard.cancel_import": (
        "POST",
        "/usage/imports/{imported}/cancel",
        None,
        (ALL, ALL, OWN, NONE),
    ),
    "dashboard.reconciliation": ("GET", "/usage/reconciliation", None, (ALL, ALL, ALL, NONE)),
    "dashboard.reconcile_usage": (
        "POST",
        "/usage/reconciliation",
        {"account_id": "{source}", "from": "2026-10-01", "to": "2026-10-02"},
        (ALL, ALL, "ok 422", NONE),
    ),
    "dashboard.settings": ("GET", "/settings", None, (ALL, ALL, ALL, ALL)),
    "dashboard.profile": ("GET", "/settings/profile", None, (ALL, ALL, ALL, ALL)),
    "dashboard.change_profile": ("POST", "/settings/profile", {}, (SELF, SELF, SELF, SELF)),
    "dashboard.change_password": ("POST", "/settings/password", {}, (SELF, SELF, SELF, SELF)),
    "dashboard.second_factor": ("GET", "/settings/second-factor", None, (ALL, ALL, ALL, ALL)),
    "dashboard.propose_second_factor": (
        "POST",
        "/settings/second-factor",
        {},
        (SELF, SELF, SELF, SELF),
    ),
    "dashboard.draw_second_factor": (
        "GET",
        "/settings/second-factor/code.svg",
        None,
        (NOTHING, NOTHING, NOTHING, NOTHING),
    ),
    "dashboard.confirm_second_factor": (
        "POST",
        "/settings/second-factor/confirm",
        {},
        (SELF, SELF, SELF, SELF),
    ),
    "dashboard.cancel_second_factor": (
        "POST",
        "/settings/second-factor/cancel",
        None,
        (ALL, ALL, ALL, ALL),
    ),
    "dashboard.make_recovery_codes": (
        "POST",
        "/settings/second-factor/recovery-codes",
        {},
        (SELF, SELF, SELF, SELF),
    ),
    "dashboard.switch_second_factor_off": (
        "POST",
        "/settings/second-factor/off",
        {},
        (SELF, SELF, SELF, SELF),
    ),
    "dashboard.sessions_page": ("GET", "/settings/sessions", None, (ALL, ALL, ALL, ALL)),
    "dashboard.revoke_session": (
        "POST",
        "/settings/sessions/{session}/revoke",
        None,
        (OWN, OWN, OWN, OWN),
    ),
    "dashboard.revoke_program": (
        "POST",
        "/settings/programs/{program}/revoke",
        None,
        (OWN, OWN, OWN, OWN),
    ),
    "dashboard.revoke_other_sessions": (
        "POST",
        "/settings/sessions/revoke-others",
        None,
        (ALL, ALL, ALL, ALL),
    ),
    "dashboard.revoke_all_sessions": (
        "POST",
        "/settings/sessions/revoke-all",
        None,
        (ALL, ALL, ALL, ALL),
    ),
    "dashboard.api_keys": ("GET", "/settings/api-keys", None, (ALL, ALL, ALL, ALL)),
    "dashboard.new_api_key": ("GET", "/settings/api-keys/new", None, (ALL, ALL, ALL, ALL)),
    "dashboard.create_api_key": ("POST", "/settings/api-keys", {}, (SELF, SELF, SELF, SELF)),
    "dashboard.confirm_revoke_api_key": (
        "GET",
        "/settings/api-keys/{key}/revoke",
        None,
        (ALL, OWN, OWN, OWN),
    ),
    "dashboard.revoke_api_key": (
        "POST",
        "/settings/api-keys/{key}/revoke",
        None,
        (ALL, OWN, OWN, OWN),
    ),
    "dashboard.audit_log": ("GET", "/settings/audit", None, (ALL, NONE, NONE, NONE)),
    "dashboard.accounts": ("GET", "/settings/accounts", None, (ALL, ALL, NONE, NONE)),
    "dashboard.new_account": ("GET", "/settings/accounts/new", None, (ALL, ALL, NONE, NONE)),
    "dashboard.create_account": ("POST", "/settings/accounts", {}, (SELF, SELF, NONE, NONE)),
    "dashboard.account": ("GET", "/settings/accounts/{managed}", None, (ALL, OWN, NONE, NONE)),
    "dashboard.change_account": (
        "POST",
        "/settings/accounts/{managed}",
        {},
        (SELF, "422 404", NONE, NONE),
    ),
    "dashboard.confirm_deactivate_account": (
        "GET",
        "/settings/accounts/{managed}/deactivate",
        None,
        (ALL, OWN, NONE, NONE),
    ),
    "dashboard.deactivate_account": (
        "POST",
        "/settings/accounts/{victim}/deactivate",
        None,
        (ALL, OWN, NONE, NONE),
    ),
    "dashboard.reactivate_account": (
        "POST",
        "/settings/accounts/{victim}/reactivate",
        None,
        (ALL, OWN, NONE, NONE),
    ),
    "dashboard.invite_account": (
        "POST",
        "/settings/accounts/{victim}/invite",
        None,
        (ALL, OWN, NONE, NONE),
    ),
    "dashboard.send_password_reset": (
        "POST",
        "/settings/accounts/{known}/password-reset",
        None,
        (ALL, OWN, NONE, NONE),
    ),
    "dashboard.reset_second_factor": (
        "POST",
        "/settings/accounts/{known}/second-factor/reset",
        None,
        (ALL, NONE, NONE, NONE),
    ),
    "dashboard.confirm_rotate_api_key": (
        "GET",
        "/settings/api-keys/{key}/rotate",
        None,
        (ALL, OWN, OWN, OWN),
    ),
    "dashboard.send_rotate_api_key": (
        "POST",
        "/settings/api-keys/{key}/rotate",
        {"hours": "24", "idempotency_key": "{new}"},
        (ALL, OWN, OWN, OWN),
    ),
    "dashboard.export_personal_data": (
        "POST",
        "/settings/accounts/{mine}/export",
        None,
        (ALL, OWN, OWN, OWN),
    ),
    "dashboard.confirm_erase_account": (
        "GET",
        "/settings/accounts/{victim}/erase",
        None,
        (ALL, NONE, NONE, NONE),
    ),
    "dashboard.send_erase_account": (
        "POST",
        "/settings/accounts/{victim}/erase",
        {},
        (SELF, NONE, NONE, NONE),
    ),
    "dashboard.system_health": ("GET", "/settings/health", None, (ALL, NONE, NONE, NONE)),
    "dashboard.sign_out": ("POST", "/sign-out", None, (ALL, ALL, ALL, ALL)),
    "docs.api": ("GET", "/docs/api", None, (ALL, ALL, ALL, ALL)),
}
PUBLIC = {
    "static",
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


@dataclass(frozen=True)
class Stage:
    """Makes the things that a path names: for the one who asks, or for somebody else."""

    cast: Cast

    def fill(self, value: Any, who: str, owner: str) -> Any:
        """Return the value with `{things}` of the owner made and named, as `who` meets them."""
        if isinstance(value, dict):
            return {name: self.fill(entry, who, owner) for name, entry in value.items()}
        if isinstance(value, str) and value.startswith("{") and value.endswith("}"):
            made = self._make(value[1:-1], who, owner)
            return made if value != "{new}" else str(made)
        if isinstance(value, str) and "{report}/{file}" in value:
            job_id = self.report(who, owner)
            return f"/reports/{job_id}/user-{self.user(who, owner)}-{MONTH}.pdf"
        for name in (
            "record",
            "source",
            "refused",
            "managed",
            "victim",
            "mine",
            "known",
            "key",
            "session",
            "program",
            "plan",
            "user",
            "report",
            "job",
            "imported",
            "new",
        ):
            if isinstance(value, str) and f"{{{name}}}" in value:
                return value.replace(f"{{{name}}}", str(self._make(name, who, owner)))
        return value

    def _make(self, name: str, who: str, owner: str) -> Any:
        make: Callable[[str, str], Any] = getattr(self, name)
        return make(who, owner)

    def _account(self, who: str, owner: str) -> Member:
        other = {"customer": "other_customer", "provider": "other_provider"}
        member: Member = getattr(self.cast, who if owner == "own" else other.get(who, "stranger"))
        return member

    def user(self, who: str, owner: str) -> int:
        """A customer: the one who asks, or another. To all other roles each is as good."""
        is_own_customer = who == "customer" and owner == "own"
        return (self.cast.customer if is_own_customer else self.cast.other_customer).id

    def managed(self, who: str, owner: str) -> int:
        if owner == "foreign":
            return self.cast.admin.id if who == "manager" else self.cast.other_customer.id
        return self.cast.customer.id

    def known(self, who: str, owner: str) -> int:
        """An account with a password, of whichever kind: nobody tries it."""
        user_id = self.victim(who, owner)
        with transaction() as session:
            session.get_one(User, user_id).password_hash = "x"
        return user_id

    def mine(self, who: str, owner: str) -> int:
        """The account that asks, or the stranger's."""
        return (getattr(self.cast, who) if owner == "own" else self.cast.stranger).id

    def victim(self, who: str, owner: str) -> int:
        role = Role.MANAGER if owner == "foreign" else Role.CUSTOMER
        email = f"{secrets.token_hex(4)}@test.example"
        user = User(email=email, name="V", role=role, created_at=datetime.now(UTC))
        with transaction() as session:
            session.add(user)
        return user.id

    def record(self, who: str, owner: str) -> int:
        if who == "provider":
            return create_record(self.cast, recorded_by=self._account(who, owner)).id
        about = self._account(who, owner) if who == "customer" else self.cast.customer
        return create_record(self.cast, user=about).id

    def refused(self, who: str, owner: str) -> int:
        recorder = self._account(who, owner) if who == "provider" else self.cast.provider
        return create_refused(self.cast, recorded_by=recorder)

    def source(self, who: str, owner: str) -> int:
        recorder = self._account(who, owner) if who == "provider" else self.cast.provider
        create_record(self.cast, recorded_by=recorder)
        write_noted()
        return recorder.id

    def key(self, who: str, owner: str) -> int:
        with transaction() as session:
            user = session.get_one(User, self._account(who, owner).id)
            key, _ = create_api_key(user, actor=SYSTEM, now=datetime.now(UTC), name="k")
        return key.id

    def session(self, who: str, owner: str) -> int:
        now = datetime.now(UTC)
        row = UserSession(
            token_hash=secrets.token_hex(32),
            user_id=self._account(who, owner).id,
            created_at=now,
            seen_at=now,
            expires_at=now + timedelta(days=1),
        )
        with transaction() as session:
            session.add(row)
        return row.id

    def program(self, who: str, owner: str) -> int:
        now = datetime.now(UTC)
        family = TokenFamily(
            user_id=self._account(who, owner).id,
            created_at=now,
            renewed_at=now,
            expires_at=now + timedelta(days=1),
        )
        with transaction() as session:
            session.add(family)
        return family.id

    def plan(self, who: str, owner: str) -> str:
        return "standard" if owner == "own" else "unused"

    def job(self, who: str, owner: str) -> int:
        return self._failed_report(Actor(user_id=self._account(who, owner).id), who, owner)

    def report(self, who: str, owner: str) -> int:
        # Who asked for it does not matter: a customer reads what is about itself.
        return self._failed_report(Actor(user_id=self.cast.manager.id), who, owner)

    def _failed_report(self, actor: Actor, who: str, owner: str) -> int:
        now = datetime.now(UTC)
        with transaction() as session:
            user = session.get_one(User, self.user(who, owner))
            report = request_report(user, MONTH.dates, file_format="pdf", actor=actor, now=now)
            report.path = "1/1/report.pdf"
            session.get_one(Job, report.job_id).status = "failed"
        return report.job_id

    def imported(self, who: str, owner: str) -> int:
        about = self._account(who, owner) if who == "provider" else self.cast.provider
        return create_import(about)

    def new(self, who: str, owner: str) -> str:
        return secrets.token_hex(8)


@pytest.fixture
def stage(app: APIFlask, cast: Cast) -> Stage:
    app.config["WTF_CSRF_ENABLED"] = False
    file = app.extensions["billtrack.storage"]
    file.put("1/1/report.pdf", b"%PDF-")
    with transaction():
        create_plan(
            actor=SYSTEM, now=datetime.now(UTC), code="unused", name="Unused", currency="USD"
        )
    return Stage(cast)


def test_it_has_an_entry_for_every_route(app: APIFlask) -> None:
    endpoints = {rule.endpoint for rule in app.url_map.iter_rules()}
    assert endpoints == {*API, *PAGES, *PUBLIC}
    for endpoint, (method, path, _, _) in (API | PAGES).items():
        rules = [rule for rule in app.url_map.iter_rules() if rule.endpoint == endpoint]
        assert any(method in (rule.methods or ()) for rule in rules), (endpoint, path)


def test_it_grants_api_calls_by_role_and_owner(stage: Stage) -> None:
    wrong = []
    for role, owner in product(ROLES, OWNERS):
        member: Member = getattr(stage.cast, role)
        for endpoint, (method, path, body, expected) in API.items():
            right = expected[ROLES.index(role)].split()[OWNERS.index(owner)]
            options = {} if body is None else {"json": stage.fill(body, role, owner)}
            address = stage.fill(path, role, owner)
            headers = {"Authorization": f"Bearer {member.key}"}
            answer = member._client().open(address, method=method, headers=headers, **options)
            if verdict(answer) != right:
                wrong.append(f"{role} {endpoint} {owner}: {answer.status_code} for {right}")
    assert not wrong, "\n".join(wrong)


def test_it_grants_pages_by_role_and_owner(stage: Stage) -> None:
    wrong = []
    for role, owner in product(ROLES, OWNERS):
        for endpoint, (method, path, body, expected) in PAGES.items():
            right = expected[ROLES.index(role)].split()[OWNERS.index(owner)]
            browser = signed_in(getattr(stage.cast, role))
            form = stage.fill(body, role, owner)
            address = stage.fill(path, role, owner)
            answer = browser.open(address, method=method, data=form, buffered=True)
            if verdict(answer) != right:
                wrong.append(f"{role} {endpoint} {owner}: {answer.status_code} for {right}")
    assert not wrong, "\n".join(wrong)


def test_it_answers_nobody_without_credentials(stage: Stage, browser: FlaskClient) -> None:
    wrong = []
    for endpoint, (method, path, body, _) in (API | PAGES).items():
        address = stage.fill(path, "customer", "own")
        answer = browser.open(address, method=method, json=body if "api." in endpoint else None)
        is_page = not address.startswith("/api/")
        to_sign_in = answer.status_code == 303 and answer.location.startswith("/sign-in")
        if not (to_sign_in if is_page else answer.status_code == 401):
            wrong.append(f"{endpoint}: {answer.status_code}")
        if not is_page and "Bearer" not in answer.headers.get("WWW-Authenticate", ""):
            wrong.append(f"{endpoint}: asks for no credential")
    assert not wrong, "\n".join(wrong)


def test_it_takes_no_session_cookie_on_the_api(stage: Stage) -> None:
    browser, wrong = signed_in(stage.cast.admin), []
    for endpoint, (method, path, body, _) in API.items():
        address = stage.fill(path, "admin", "own")
        answer = browser.open(address, method=method, json=body)
        if answer.status_code != (200 if endpoint == "api.show_openapi" else 401):
            wrong.append(f"{endpoint}: {answer.status_code}")
    assert not wrong, "\n".join(wrong)
    # A Bearer credential opens the two files that a browser may open too, and no page.
    headers = {"Authorization": f"Bearer {stage.cast.admin.key}"}
    client = stage.cast.admin._client()
    assert client.get("/api/v1/openapi.json", headers=headers).status_code == 200
    download = stage.fill("/reports/{report}/{file}", "customer", "own")
    assert client.get(download, headers=headers, buffered=True).data == b"%PDF-"
    assert client.get("/customers", headers=headers).status_code == 401


def test_it_shows_the_stranger_nothing(stage: Stage) -> None:
    cast, stranger = stage.cast, stage.cast.stranger
    create_record(cast, quantity=987_654_321)
    leaks = [cast.customer.user.email, "Other customer", "987654321", "unused", cast.admin.key[:14]]
    things = ("customer", "own")
    seen = []
    for endpoint, (method, path, _, _) in API.items():
        if method != "GET" or endpoint == "api.show_openapi":
            continue
        answer = stranger.get(stage.fill(path, *things))
        if "{" in path and answer.status_code not in {403, 404}:
            # What the stranger shares with the customer is the plan.
            seen += [endpoint] if endpoint != "api.show_plan" else []
        seen += [f"{endpoint}: {leak}" for leak in leaks if f'"{leak}' in answer.text]
        seen += [f"{endpoint}: 987654321" for _ in range("987654321" in answer.text)]
    browser = signed_in(stranger)
    for endpoint, (method, path, _, _) in PAGES.items():
        if method == "GET":
            text = browser.get(stage.fill(path, *things), buffered=True).text
            seen += [f"{endpoint}: {leak}" for leak in (*leaks[:2], "987,654,321") if leak in text]
    assert seen == []


def test_it_lists_only_what_is_within_reach(stage: Stage) -> None:
    cast = stage.cast
    stage.record("customer", "foreign")
    stage.record("provider", "foreign")
    stage.job("customer", "foreign")
    stage.job("customer", "own")
    shown = {
        (member.user.name, resource): [
            row.get("user_id", row.get("id"))
            for row in member.get(f"/api/v1/{resource}").get_json()["data"]
        ]
        for member in (cast.customer, cast.stranger)
        for resource in ("usage", "usage/summary", "api-keys", "users", "jobs")
    }
    own_job = max(job.id for job in db.session.query(Job))
    assert shown == {
        ("Customer", "usage"): [cast.customer.id],
        ("Customer", "usage/summary"): [None],
        ("Customer", "api-keys"): [cast.customer.id],
        ("Customer", "users"): [cast.customer.id],
        ("Customer", "jobs"): [own_job],
        ("Stranger", "usage"): [],
        ("Stranger", "usage/summary"): [],
        ("Stranger", "api-keys"): [cast.stranger.id],
        ("Stranger", "users"): [cast.stranger.id],
        ("Stranger", "jobs"): [],
    }
    others = cast.stranger.get(f"/api/v1/usage?user_id={cast.customer.id}").get_json()
    assert others["data"] == []


def test_it_keeps_managers_from_the_accounts_of_administrators(cast: Cast) -> None:
    roles = [row["role"] for row in cast.manager.get("/api/v1/users").get_json()["data"]]
    assert sorted(roles) == ["customer"] * 3 + ["manager"] + ["provider"] * 2
    for role in ("admin", "manager"):
        body = {"email": f"{role}2@test.example", "name": "New", "role": role}
        assert cast.manager.post("/api/v1/users", body).status_code == 403
        assert cast.admin.post("/api/v1/users", body).status_code == 201


def test_it_lets_a_key_do_no_more_than_its_scopes(cast: Cast) -> None:
    key = new_key(cast.admin, scopes=["usage:read", "api-keys:write"])
    assert key.get("/api/v1/usage").status_code == 200
    refused = key.get("/api/v1/users")
    assert (refused.status_code, refused.get_json()["code"]) == (403, "forbidden")
    more = key.post("/api/v1/api-keys", {"name": "more", "scopes": ["users:write"]})
    assert (more.status_code, more.get_json()["errors"][0]["field"]) == (422, "scopes")
    same = key.post("/api/v1/api-keys", {"name": "same"}).get_json()
    assert same["scopes"] == ["api-keys:write", "usage:read"]


def test_it_gives_customers_keys_that_only_read(cast: Cast) -> None:
    own = cast.customer.get("/api/v1/api-keys").get_json()["data"]
    assert own[0]["scopes"] == sorted(READ_ONLY)
    for scope in ("usage:record", "reports:create", "api-keys:write", "users:write"):
        body = {"name": "k", "user_id": cast.customer.id, "scopes": [scope]}
        assert cast.admin.post("/api/v1/api-keys", body).status_code == 422


def test_it_lets_only_administrators_make_keys_for_others(cast: Cast) -> None:
    body = {"name": "k", "user_id": cast.customer.id}
    made = cast.admin.post("/api/v1/api-keys", body)
    assert (made.status_code, made.get_json()["user_id"]) == (201, cast.customer.id)
    for member in (cast.manager, cast.provider):
        answer = member.post("/api/v1/api-keys", body)
        assert (answer.status_code, answer.get_json()["errors"][0]["field"]) == (422, "user_id")


def test_it_refuses_keys_that_are_expired_revoked_or_of_the_deactivated(cast: Cast) -> None:
    now = datetime.now(UTC)
    expiring = new_key(cast.provider, expires_at=now + timedelta(hours=1))
    revoked, shut_out = new_key(cast.provider), new_key(cast.other_provider)
    assert [key.get("/api/v1/me").status_code for key in (expiring, revoked, shut_out)] == [200] * 3
    with transaction() as session:
        keys = {key.prefix: key for key in session.query(ApiKey)}
        keys[expiring.key[:14]].expires_at = now
        everything = Reach(Breadth.ALL, 0)
        revoke_api_key(keys[revoked.key[:14]].id, actor=SYSTEM, reach=everything, now=now)
    as_person(cast.admin).post(f"/api/v1/users/{cast.other_provider.id}/deactivate")
    for key in (expiring, revoked, shut_out, cast.other_provider):
        answer = key.get("/api/v1/me")
        assert (answer.status_code, answer.get_json()["code"]) == (401, "unauthenticated")


def test_it_refuses_headers_that_are_no_credential(cast: Cast) -> None:
    key = cast.admin.key
    client = cast.admin._client()
    for header in [
        "",
        "Bearer",
        "Bearer ",
        key,
        f"Basic {key}",
        f"Token {key}",
        f"Bearer {key}x",
        f"Bearer {key[:-1]}",
        f"Bearer {key.upper()}",
        f"Bearer {key} {key}",
        "Bearer bt_live_",
        "Bearer bt_live_\x00",
        "Bearer " + "a" * 20_000,
        "Basic OnB3",
    ]:
        answer = client.get("/api/v1/me", headers={"Authorization": header})
        assert answer.status_code == 401, header[:60]
        assert answer.mimetype == "application/problem+json"
    beyond_ascii = client.get("/api/v1/me", headers={"Authorization": "Bearer é"})
    assert (beyond_ascii.status_code, beyond_ascii.get_json()["code"]) == (400, "invalid_header")
    for header in (f"Bearer {key}", f"bearer {key}", f"BEARER  {key}"):
        assert client.get("/api/v1/me", headers={"Authorization": header}).status_code == 200


def test_it_stores_no_secret_of_a_key(cast: Cast) -> None:
    answer = cast.admin.post("/api/v1/api-keys", {"name": "k"}).get_json()
    assert answer["key"].startswith("bt_live_")
    stored = db.session.get_one(ApiKey, answer["id"])
    assert answer["key"] not in repr(vars(stored))
    shown = cast.admin.get("/api/v1/api-keys").get_json()["data"]
    assert all(key["key"] is None for key in shown)


def test_it_ends_sessions(cast: Cast) -> None:
    too_long = sessions.IDLE_LIMIT + timedelta(seconds=1)
    for change, value in (
        ("expires_at", timedelta(0)),
        ("revoked_at", timedelta(0)),
        ("seen_at", -too_long),
    ):
        browser = signed_in(cast.admin)
        assert browser.get("/usage").status_code == 200
        with transaction() as session:
            newest = session.query(UserSession).order_by(UserSession.id.desc()).limit(1).one()
            setattr(newest, change, datetime.now(UTC) + value)
        assert browser.get("/usage").status_code == 303


def test_it_notes_the_use_of_a_key_once_a_minute(cast: Cast) -> None:
    cast.provider.get("/api/v1/me")
    db.session.rollback()
    key = db.session.query(ApiKey).filter_by(user_id=cast.provider.id).one()
    first = key.used_at
    assert first is not None
    cast.provider.get("/api/v1/me")
    db.session.refresh(key)
    assert key.used_at == first
    with transaction():
        db.session.get_one(ApiKey, key.id).used_at = first - timedelta(minutes=2)
    cast.provider.get("/api/v1/me")
    db.session.rollback()
    again = db.session.get_one(ApiKey, key.id).used_at
    assert again is not None
    assert again > first


def test_it_shows_a_customer_its_own_plans_only(cast: Cast) -> None:
    now, today = datetime.now(UTC), current_calendar().today(datetime.now(UTC))
    with transaction():
        create_plan(actor=SYSTEM, now=now, code="vip", name="VIP", currency="USD")
        version = create_version("vip", actor=SYSTEM, now=now, charges=[])
        publish_version("vip", version.number, actor=SYSTEM, now=now, effective_from=today)
        subscribe(
            cast.customer.id,
            actor=SYSTEM,
            now=now,
            plan_code="vip",
            starts_on=today - timedelta(days=90),
            ends_on=today - timedelta(days=60),
        )
    codes = {
        member.user.name: [plan["code"] for plan in member.get("/api/v1/plans").get_json()["data"]]
        for member in (cast.customer, cast.stranger, cast.manager)
    }
    assert codes == {
        "Customer": ["standard", "vip"],
        "Stranger": ["standard"],
        "Manager": ["standard", "vip"],
    }


def verdict(answer: TestResponse) -> str:
    is_ok = answer.status_code < 400 and not (answer.location or "").startswith("/sign-in?")
    return "ok" if is_ok else str(answer.status_code)


def new_key(
    member: Member, *, scopes: list[str] | None = None, expires_at: datetime | None = None
) -> Member:
    """Return the same account with another key."""
    with transaction() as session:
        user = session.get_one(User, member.id)
        _, secret = create_api_key(
            user,
            actor=SYSTEM,
            now=datetime.now(UTC),
            name="another",
            scopes=scopes,
            expires_at=expires_at,
        )
    return Member(member.user, secret)


def signed_in(member: Member) -> FlaskClient:
    """Return a browser with a session of the account, which has no password."""
    browser, token = current_app.test_client(), secrets.token_hex(16)
    now = datetime.now(UTC)
    with transaction() as session:
        session.add(
            UserSession(
                token_hash=sessions._hash(token),
                user_id=member.id,
                created_at=now,
                seen_at=now,
                expires_at=now + sessions.LIFETIME,
            )
        )
    with browser.session_transaction() as cookie:
        cookie[SESSION_COOKIE_KEY] = token
    return browser
