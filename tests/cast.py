"""The standing cast of the tests, and plain ways to make what they need."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from flask import current_app
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from billtrack.accounts.credentials.api_keys import create_api_key
from billtrack.accounts.credentials.tokens import start_family
from billtrack.accounts.users.models import User
from billtrack.accounts.users.passwords import hash_password
from billtrack.accounts.users.permissions import Breadth, Reach, Role
from billtrack.billing.customers import open_account
from billtrack.platform import audit
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar
from billtrack.usage.imports.operations import request_import, store_file
from billtrack.usage.ingest.intake import submit, submit_one
from billtrack.usage.records.queries import RecordView
from billtrack.usage.records.submissions import Terms, UsageInput, terms_of
from billtrack.usage.sources.rejected import RejectedFilter, list_rejected
from billtrack.usage.sources.writing import write_noted

SYSTEM = audit.Actor()
PASSWORD = "correct horse battery staple"


@dataclass(frozen=True, slots=True)
class Member:
    """An account with an API key, and the calls it makes with it."""

    user: User
    key: str

    @property
    def id(self) -> int:
        return self.user.id

    def get(self, path: str, **options: Any) -> TestResponse:
        return self._client().get(path, headers=self.headers(options), **options)

    def post(self, path: str, json: Any = None, **options: Any) -> TestResponse:
        if json is not None:
            options["json"] = json
        return self._client().post(path, headers=self.headers(options), **options)

    def patch(self, path: str, json: Any = None, **options: Any) -> TestResponse:
        return self._client().patch(path, json=json, headers=self.headers(options), **options)

    def headers(self, options: dict[str, Any]) -> dict[str, str]:
        """Return the request's headers with the credential; takes them out of the options."""
        return {"Authorization": f"Bearer {self.key}", **options.pop("headers", {})}

    @staticmethod
    def _client() -> FlaskClient:
        # A client of its own for every call: an API has no cookies.
        return current_app.test_client(use_cookies=False)


@dataclass(frozen=True, slots=True)
class Cast:
    """An admin, a manager, two providers, two customers, and a stranger who must see nothing."""

    admin: Member
    manager: Member
    provider: Member
    other_provider: Member
    customer: Member
    other_customer: Member
    stranger: Member


def create_cast() -> Cast:
    """Create the cast in one transaction."""
    now = datetime.now(UTC)
    roles = {
        "admin": Role.ADMIN,
        "manager": Role.MANAGER,
        "provider": Role.PROVIDER,
        "other_provider": Role.PROVIDER,
        "customer": Role.CUSTOMER,
        "other_customer": Role.CUSTOMER,
        "stranger": Role.CUSTOMER,
    }
    with transaction():
        members = {name: _create_member(name, role, now) for name, role in roles.items()}
    return Cast(**members)


def create_user(
    *, role: Role = Role.CUSTOMER, email: str = "someone@test.example", password: str | None = None
) -> User:
    """Create an account; a customer gets its subscription."""
    hashed = hash_password(password) if password is not None else None
    with transaction():
        return open_account(
            actor=SYSTEM,
            now=datetime.now(UTC),
            calendar=current_calendar(),
            email=email,
            name=email.partition("@")[0],
            role=role,
            password=hashed,
        )


def as_person(member: Member) -> Member:
    """Return the account with an access token, which no scopes limit."""
    with transaction():
        pair = start_family(member.user, now=datetime.now(UTC), address=None, user_agent=None)
    return Member(member.user, pair.access_token)


def create_import(recorded_by: Member) -> int:
    """Queue the import of a file; return its number."""
    file = store_file(current_app.extensions["billtrack.storage"], b"user_id\n")
    with transaction():
        wanted = request_import(
            file,
            filename="usage.csv",
            recorded_by_id=recorded_by.id,
            is_dry_run=False,
            actor=SYSTEM,
            now=datetime.now(UTC),
        )
    return wanted.id


def create_record(
    cast: Cast,
    *,
    quantity: int = 1000,
    event: str = "api_calls",
    user: Member | None = None,
    recorded_by: Member | None = None,
    occurred_at: datetime | None = None,
    key: str | None = None,
) -> RecordView:
    """Record usage of the customer, by the provider."""
    item = UsageInput(
        user_id=(user or cast.customer).id,
        event=event,
        quantity=quantity,
        occurred_at=occurred_at,
        idempotency_key=key,
    )
    record, _ = submit_one(item, terms=terms(recorded_by or cast.provider))
    return record


def create_refused(cast: Cast, *, recorded_by: Member | None = None, key: str | None = None) -> int:
    """Return the number of a record of the customer that was refused: its event is not known."""
    sent = UsageInput(cast.customer.id, "unheard_of", 5, idempotency_key=key)
    rules = replace(terms(recorded_by or cast.provider), keeps_refused=True)
    (outcome,) = submit([sent], terms=rules)
    if outcome.error is None:
        raise ValueError("it was not refused")
    write_noted()
    newest = list_rejected(reach=Reach(Breadth.ALL, 0), matching=RejectedFilter(), limit=1)
    return newest[0].id


def terms(recorder: Member) -> Terms:
    """Return the rules under which this account records now."""
    return terms_of(recorder.id, datetime.now(UTC))


def sign_in(browser: FlaskClient, user: User, *, password: str = PASSWORD) -> None:
    """Sign the browser in through the page, as a person would."""
    page = browser.get("/sign-in")
    token = csrf_token(page)
    answer = browser.post(
        "/sign-in", data={"email": user.email, "password": password, "csrf_token": token}
    )
    assert answer.status_code == 303, answer.get_data(as_text=True)


def csrf_token(page: TestResponse) -> str:
    """Return the CSRF token of the first form on the page."""
    text = page.get_data(as_text=True)
    return text.partition('name="csrf_token"')[2].partition('value="')[2].partition('"')[0]


def _create_member(name: str, role: Role, now: datetime) -> Member:
    user = open_account(
        actor=SYSTEM,
        now=now,
        calendar=current_calendar(),
        email=f"{name.replace('_', '-')}@test.example",
        name=name.replace("_", " ").capitalize(),
        role=role,
    )
    _, secret = create_api_key(user, actor=SYSTEM, now=now, name="test")
    return Member(user, secret)
