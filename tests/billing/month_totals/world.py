"""A small installation in March 2026 that has everything a month can have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

from sqlalchemy import insert

from billtrack.accounts.users.permissions import Role
from billtrack.billing.customers import open_account
from billtrack.billing.plans.operations import (
    create_plan,
    create_version,
    end_subscription,
    publish_version,
    subscribe,
)
from billtrack.billing.plans.queries import list_subscriptions
from billtrack.billing.plans.standard import standard_charges
from billtrack.billing.pricing.charges import Charge, parse_charge
from billtrack.billing.statements.queries import Terms
from billtrack.core.periods import BillingCalendar, DateRange
from billtrack.platform import audit
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.usage.records.meters import list_meters
from billtrack.usage.records.models import UsageDaily

SYSTEM = audit.Actor()
NOW = datetime(2026, 3, 18, 12, tzinfo=UTC)
TODAY = date(2026, 3, 18)
DAYS = DateRange(date(2026, 3, 1), TODAY)
LONG_AGO = datetime(2025, 3, 5, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class World:
    """Ids of accounts, each there for one reason."""

    steady: int
    fees: int
    euro: int
    moved: int
    unpriced: int
    left: int
    quiet: int
    machine: int


def terms(now: datetime = NOW) -> Terms:
    return Terms(BillingCalendar("UTC"), "USD", now)


def create_world() -> World:
    """Create plans whose versions change mid-month, two currencies, and odd customers."""
    with transaction():
        _create_plans()
        ids = {
            name: create_customer(name, plan=plan, deactivated=name == "left")
            for name, plan in {
                "steady": "standard",
                "fees": "pro",
                "euro": "euro",
                "unpriced": "calls-only",
                "left": "standard",
                "quiet": "standard",
            }.items()
        }
        ids["moved"] = create_customer("moved", plan="standard", until=date(2026, 2, 28))
        _subscribe(ids["moved"], "euro", date(2026, 3, 1))
        ids["machine"] = create_customer("machine", role=Role.MANAGER)
    for number, name in enumerate(sorted(ids), start=1):
        if name != "quiet":
            create_usage(ids[name], scale=number)
    return World(**ids)


def create_customer(
    name: str,
    *,
    plan: str = "standard",
    until: date | None = None,
    role: Role = Role.CUSTOMER,
    deactivated: bool = False,
) -> int:
    """Create an account on a plan for the last year; call inside a transaction."""
    user = open_account(
        actor=SYSTEM,
        now=LONG_AGO,
        calendar=current_calendar(),
        email=f"{name}@test.example",
        name=name.capitalize(),
        role=role,
    )
    if role is not Role.CUSTOMER:
        return user.id
    if deactivated:
        user.deactivated_at = NOW
    if plan != "standard" or until:
        last = until or date(2025, 3, 31)
        found, _ = list_subscriptions(user.id)[0]
        end_subscription(found, actor=SYSTEM, now=LONG_AGO, last_day=last)
        if until is None:
            _subscribe(user.id, plan, date(2025, 4, 1))
    return user.id


def create_usage(user_id: int, *, scale: int = 1, days: int = 120, through: date = TODAY) -> None:
    """Store rollups of every meter that differ by day, weekday and meter."""
    ids = {meter.code: meter.id for meter in list_meters()}
    base = {"api_calls": 9_001, "vm_uptime": 86_400, "cpu_time": 7_777, "data_storage": 2_403}
    rows = [
        {
            "user_id": user_id,
            "meter_id": ids[code],
            "day": day,
            "quantity": scale * quantity * (10 + back * back % 11) // 10,
            "count": 1,
        }
        for code, quantity in base.items()
        for back, day in enumerate(through - timedelta(days=n) for n in range(days))
    ]
    with transaction() as session:
        session.execute(insert(UsageDaily), rows)


def add_usage(user_id: int, quantities: Mapping[date, int], *, meter_id: int = 1) -> None:
    """Store rollups of one meter."""
    rows = [
        {"user_id": user_id, "meter_id": meter_id, "day": day, "quantity": quantity, "count": 1}
        for day, quantity in quantities.items()
    ]
    with transaction() as session:
        session.execute(insert(UsageDaily), rows)


def _create_plans() -> None:
    calls = parse_charge({"meter": "api_calls", "model": "per_unit", "unit_price": "0.000333"})
    dear = parse_charge({"meter": "api_calls", "model": "per_unit", "unit_price": "0.0007"})
    floor = parse_charge(
        {"meter": "cpu_time", "model": "per_unit", "unit_price": "0.00001", "minimum": "30"}
    )
    rest = [charge for charge in standard_charges() if charge.meter != "api_calls"]
    for code, currency in (("pro", "USD"), ("euro", "EUR"), ("calls-only", "USD")):
        create_plan(actor=SYSTEM, now=LONG_AGO, code=code, name=code, currency=currency)
    _publish("pro", [calls, *rest], date(2025, 3, 1), fee="49.99", commitment="900")
    _publish("pro", [dear, *rest], date(2026, 3, 11), fee="59.99", commitment="900")
    _publish("euro", list(standard_charges()), date(2025, 3, 1))
    _publish("calls-only", [calls, floor], date(2025, 3, 1))


def _publish(
    code: str, charges: list[Charge], day: date, *, fee: str = "0", commitment: str = "0"
) -> None:
    version = create_version(
        code,
        actor=SYSTEM,
        now=LONG_AGO,
        charges=charges,
        base_fee=Fraction(fee),
        minimum_commitment=Fraction(commitment),
    )
    publish_version(code, version.number, actor=SYSTEM, now=LONG_AGO, effective_from=day)


def _subscribe(user_id: int, plan: str, starts_on: date) -> None:
    subscribe(user_id, actor=SYSTEM, now=LONG_AGO, plan_code=plan, starts_on=starts_on)
    db.session.flush()
