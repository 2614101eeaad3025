"""Accounts of the conformance table, with the same ids in every copy of the database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from apiflask import APIFlask

from billtrack.accounts.credentials.api_keys import create_api_key
from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Role
from billtrack.billing.customers import open_account
from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.setup.initialise import initialise
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from tests.cast import SYSTEM, Member
from tests.conformance.records import BACKFILL_DAYS, RECORDS, Record
from tests.conftest import make_settings
from tests.services import GivenPostgresServer, PostgresServer, unique_name

TIMEZONE = "Europe/Berlin"
BUDGET = 600
"""Usage records that a key may send at once; one more comes back after six seconds."""


@dataclass(frozen=True)
class Source:
    """Sender and customer of a record.

    `spare_key` is another key of the sender, for what is sent earlier, so that `key` has spent
    nothing yet.
    """

    sender_id: int
    email: str
    key: str
    key_id: int
    spare_key: str
    customer_id: int

    @property
    def sender(self) -> Member:
        """The sender as other tests know accounts; nothing but its number and its key."""
        return Member(User(id=self.sender_id), self.key)


@dataclass(frozen=True)
class People:
    """Source of each record by name, a manager, and the customer of good neighbours."""

    sources: Mapping[str, Source]
    manager_id: int
    neighbour_id: int


@dataclass(frozen=True)
class Furnished:
    """A database with all accounts, to be copied for each way in."""

    people: People
    folder: Path
    name: str | None
    server: PostgresServer | GivenPostgresServer | None

    @contextmanager
    def copied(self, folder: Path) -> Iterator[Settings]:
        """Lend a copy, with settings that fit to it."""
        if self.server is None or self.name is None:
            shutil.copy(self.folder / "billtrack.db", folder / "billtrack.db")
            yield settings_of(folder)
            return
        copy = unique_name()
        url = self.server.create_database(copy, template=self.name)
        try:
            yield settings_of(folder, database_url=url)
        finally:
            self.server.drop_database(copy)

    def close(self) -> None:
        """Leave nothing behind on a server that is not the suite's own."""
        if self.server is not None and self.name is not None:
            self.server.drop_database(self.name)


def settings_of(folder: Path, **changes: object) -> Settings:
    return make_settings(
        folder,
        timezone=TIMEZONE,
        backfill_days=BACKFILL_DAYS,
        rate_usage=f"{BUDGET}/hour",
        **changes,
    )


@contextmanager
def running(settings: Settings) -> Iterator[APIFlask]:
    """Run the app on a database, with an app context for direct calls."""
    app = create_app(settings)
    app.testing = True
    with app.app_context():
        try:
            yield app
        finally:
            db.session.remove()
            db.engine.dispose()


def furnish(request: pytest.FixtureRequest, database: str, folder: Path) -> Furnished:
    """Make a database of this kind with all accounts."""
    name, server, changes = None, None, {}
    if database == "postgresql":
        server, name = request.getfixturevalue("postgres"), unique_name()
        changes = {"database_url": server.create_database(name)}
    settings = settings_of(folder, **changes)
    with running(settings):
        initialise(settings, now=datetime.now(UTC))
        people = _create_people()
    return Furnished(people, folder, name, server)


def _create_people() -> People:
    with transaction():
        manager = _account("manager", Role.MANAGER)
        neighbour = _account("neighbour", Role.CUSTOMER)
        sources = {record.name: _create_source(record) for record in RECORDS}
        return People(sources, manager.id, neighbour.id)


def _create_source(record: Record) -> Source:
    customer = _account(f"customer-{record.name}", Role.CUSTOMER)
    is_customer = record.credential == "of a customer"
    sender = customer if is_customer else _account(f"sender-{record.name}", Role.PROVIDER)
    key, secret = create_api_key(sender, actor=SYSTEM, now=_now(), name="key")
    _, spare = create_api_key(sender, actor=SYSTEM, now=_now(), name="spare")
    return Source(sender.id, sender.email, secret, key.id, spare, customer.id)


def _account(name: str, role: Role) -> User:
    return open_account(
        actor=SYSTEM,
        now=_now(),
        calendar=current_calendar(),
        email=f"{name.replace('_', '-')}@test.example",
        name=name,
        role=role,
    )


def _now() -> datetime:
    return datetime.now(UTC)
