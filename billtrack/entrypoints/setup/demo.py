"""Load the demo: its accounts, and 13 months of usage through the same door as real usage."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import islice
from zlib import crc32

from billtrack.accounts.users.models import User
from billtrack.accounts.users.passwords import HashedPassword, hash_password
from billtrack.accounts.users.permissions import Role
from billtrack.accounts.users.queries import find_user_by_email
from billtrack.billing.customers import open_account
from billtrack.core.errors import ConflictError
from billtrack.core.periods import BillingCalendar, DateRange, Month
from billtrack.entrypoints.setup.demo_sources import load_demo_journal
from billtrack.entrypoints.setup.demo_usage import (
    DemoCustomer,
    demo_customers,
    demo_first_day,
    usage_on,
)
from billtrack.platform import audit
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.installation.operations import mark_demo_loaded
from billtrack.platform.installation.queries import find_installation
from billtrack.usage.ingest.intake import submit
from billtrack.usage.records.submissions import UsageInput, terms_of

ACCOUNTS_FILE = "demo-accounts.json"
SIGN_IN_CUSTOMER = "ops@kiln.example"
BATCH = 2000
STAFF = (
    ("admin@billtrack.example", "Ada Admin", Role.ADMIN),
    ("manager@billtrack.example", "Mara Lindqvist", Role.MANAGER),
    ("collector@billtrack.example", "collector-eu", Role.PROVIDER),
)


class AddressTaken(ConflictError):
    """An account that is not of the demo has an address of the demo."""

    code = "demo_address_taken"


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """An account to sign in with, for each of the four roles."""

    role: str
    email: str
    password: str


def load_demo(settings: Settings, *, now: datetime) -> None:
    """Load the demo data unless it is in; killed half-way, it goes on where it was.

    The usage begins 13 months back, or as far back as records are accepted. Raises
    AddressTaken.
    """
    found = find_installation()
    if found is not None and found.demo_loaded_at is not None:
        return
    calendar = BillingCalendar(settings.timezone)
    passwords = {
        account.email: hash_password(account.password, about=[account.email])
        for account in demo_accounts(settings)
    }
    with transaction():
        staff = [
            _account(email, name, role, passwords, calendar, now) for email, name, role in STAFF
        ]
        # A load that goes on in another month goes on with the quantities it began with.
        newest = Month.of(calendar.day_of(staff[0].created_at))
        days = _days(newest, now, calendar, settings.backfill_days)
        customers = demo_customers(newest)
        ids = [
            _account(
                customer.email,
                customer.name,
                Role.CUSTOMER,
                passwords,
                calendar,
                # An account is as old as its usage, and so is its subscription.
                calendar.starts_at(max(customer.starts_on, days.first)),
            ).id
            for customer in customers
        ]
    terms = terms_of(staff[-1].id, now)
    usage = _usage(dict(zip(ids, customers, strict=True)), days, now, calendar)
    while batch := list(islice(usage, BATCH)):
        submit(batch, terms=terms)
    with transaction():
        load_demo_journal(staff[-1].id, now=now)
        mark_demo_loaded(now=now)


def demo_accounts(settings: Settings) -> list[DemoAccount]:
    """Return the accounts of the demo; their random passwords are made once and kept (0600)."""
    path = settings.data_dir / ACCOUNTS_FILE
    if path.exists():
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [DemoAccount(**row) for row in rows]
    emails = [(role, email) for email, _, role in STAFF] + [(Role.CUSTOMER, SIGN_IN_CUSTOMER)]
    accounts = [DemoAccount(str(role), email, secrets.token_urlsafe(12)) for role, email in emails]
    rows = [
        {"role": account.role, "email": account.email, "password": account.password}
        for account in accounts
    ]
    unfinished = path.with_suffix(".part")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(rows, file, indent=1)
    unfinished.rename(path)
    return accounts


def demo_emails(newest: Month) -> set[str]:
    """Return the addresses of all accounts of the demo."""
    staff = {email for email, *_ in STAFF}
    return staff | {customer.email for customer in demo_customers(newest)}


def _account(
    email: str,
    name: str,
    role: Role,
    passwords: Mapping[str, HashedPassword],
    calendar: BillingCalendar,
    now: datetime,
) -> User:
    known = find_user_by_email(email)
    if known is not None and not known.is_demo:
        raise AddressTaken(
            f"The account {email} was not made by the demo, so the demo is not loaded: "
            "set BILLTRACK_DEMO=0, or give that account another address."
        )
    if known is not None:
        return known
    user = open_account(
        actor=audit.Actor(),
        now=now,
        calendar=calendar,
        email=email,
        name=name,
        role=role,
        password=passwords.get(email),
    )
    user.is_demo = True
    return user


def _days(newest: Month, now: datetime, calendar: BillingCalendar, window: int) -> DateRange:
    """Return the days to load: of the demo's months, those that lie wholly in the window."""
    accepted = calendar.day_of(now - timedelta(days=window)) + timedelta(days=1)
    today = calendar.today(now)
    # On a day of 25 hours, a window of one day may begin after today does.
    return DateRange(min(today, max(demo_first_day(newest), accepted)), today)


def _usage(
    customers: Mapping[int, DemoCustomer],
    days: DateRange,
    now: datetime,
    calendar: BillingCalendar,
) -> Iterator[UsageInput]:
    """Yield the same usage for the same days, in the order in which it happened."""
    for day in days:
        records = [
            record
            for user_id, customer in customers.items()
            for record in _usage_of_day(user_id, customer, day, calendar)
        ]
        records.sort(key=lambda record: record[0])
        yield from (item for occurred_at, item in records if occurred_at <= now)


def _usage_of_day(
    user_id: int, customer: DemoCustomer, day: date, calendar: BillingCalendar
) -> Sequence[tuple[datetime, UsageInput]]:
    """Return what the customer uses that day, each under a key of its own."""
    found = []
    midnight = calendar.starts_at(day)
    for event, quantity in usage_on(customer, day).items():
        key = f"demo/{customer.email}/{event}/{day}"
        # Some minute of the first 20 hours, the same one whenever the load goes on.
        occurred_at = midnight + timedelta(minutes=crc32(key.encode()) % (20 * 60))
        found.append((occurred_at, UsageInput(user_id, event, quantity, occurred_at, key)))
    return found
