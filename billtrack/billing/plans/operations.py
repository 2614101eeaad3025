"""Make plans and versions, and put users on them. The caller owns the transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from fractions import Fraction

from sqlalchemy import func, or_, select

from billtrack.accounts.users.models import User
from billtrack.billing.plans import standard
from billtrack.billing.plans.models import Plan, PlanCharge, PlanVersion, Subscription
from billtrack.billing.plans.queries import find_plan, get_plan, get_version
from billtrack.billing.pricing.charges import Charge, charge_to_json, require_one_charge_per_meter
from billtrack.core.errors import ConflictError, InvalidError
from billtrack.core.money import format_exact, minor_unit_places
from billtrack.core.periods import Month
from billtrack.platform import audit
from billtrack.platform.db import exact_decimal
from billtrack.platform.extensions import db
from billtrack.usage.records.meters import list_meters


class PlanCodeTaken(ConflictError):
    """Another plan has this code."""

    code = "plan_code_taken"


class VersionPublished(ConflictError):
    """A published version never changes."""

    code = "version_published"


class VersionNotPublished(ConflictError):
    """A draft cannot price anything."""

    code = "version_not_published"


class EffectiveDateTaken(ConflictError):
    """Versions of a plan take effect one after the other."""

    code = "effective_date_taken"


class SubscriptionOverlap(ConflictError):
    """A user is on one plan at a time."""

    code = "subscription_overlap"


class CurrencyChange(InvalidError):
    """A move to another currency starts on the first of a month."""

    code = "currency_change_mid_month"


def create_plan(*, actor: audit.Actor, now: datetime, code: str, name: str, currency: str) -> Plan:
    """Create a plan without versions; its currency never changes. Raises PlanCodeTaken."""
    minor_unit_places(currency)
    if find_plan(code) is not None:
        raise PlanCodeTaken(f"There is a plan {code} already.")
    plan = Plan(code=code, name=name, currency=currency, created_at=now)
    db.session.add(plan)
    db.session.flush()
    changes = {"code": code, "name": name, "currency": currency}
    audit.record(
        "plan.created", actor=actor, now=now, object_type="plan", object_id=plan.id, changes=changes
    )
    return plan


def create_version(
    plan_code: str,
    *,
    actor: audit.Actor,
    now: datetime,
    charges: Sequence[Charge],
    base_fee: Fraction = Fraction(0),
    minimum_commitment: Fraction = Fraction(0),
) -> PlanVersion:
    """Add a draft version. Raises PlanNotFound and InvalidError for an unknown meter."""
    plan = get_plan(plan_code)
    require_one_charge_per_meter(charges)
    meters = {meter.code: meter.id for meter in list_meters()}
    for index, charge in enumerate(charges):
        if charge.meter not in meters:
            raise InvalidError.at(f"charges.{index}.meter", f"There is no meter {charge.meter}.")
    version = PlanVersion(
        plan_id=plan.id,
        number=_last_number(plan) + 1,
        base_fee=exact_decimal(base_fee),
        minimum_commitment=exact_decimal(minimum_commitment),
        created_at=now,
        charges=[
            PlanCharge(
                meter_id=meters[charge.meter],
                position=position,
                definition=charge_to_json(charge),
            )
            for position, charge in enumerate(charges)
        ],
    )
    db.session.add(version)
    db.session.flush()
    audit.record(
        "plan_version.created",
        actor=actor,
        now=now,
        object_type="plan_version",
        object_id=version.id,
        changes={
            "plan": plan.code,
            "number": version.number,
            "base_fee": format_exact(base_fee),
            "minimum_commitment": format_exact(minimum_commitment),
            "charges": ", ".join(charge.meter for charge in charges),
        },
    )
    return version


def publish_version(
    plan_code: str, number: int, *, actor: audit.Actor, now: datetime, effective_from: date
) -> PlanVersion:
    """Fix the version for ever; it prices the plan from this billing day on.

    Raises VersionNotFound, VersionPublished, and EffectiveDateTaken unless it takes effect
    after every version published before.
    """
    # Only one at a time publishes: two would each miss that the other did.
    _lock(get_plan(plan_code))
    version = get_version(plan_code, number)
    if version.published_at is not None:
        raise VersionPublished(f"Version {number} of {plan_code} is published already.")
    latest = db.session.scalar(
        select(func.max(PlanVersion.effective_from)).where(PlanVersion.plan_id == version.plan_id)
    )
    if latest is not None and effective_from <= latest:
        raise EffectiveDateTaken(f"Choose a day after {latest}, the newest version's.")
    version.published_at = now
    version.effective_from = effective_from
    audit.record(
        "plan_version.published",
        actor=actor,
        now=now,
        object_type="plan_version",
        object_id=version.id,
        changes={
            "plan": plan_code,
            "number": number,
            "effective_from": audit.Change(None, effective_from.isoformat()),
        },
    )
    db.session.flush()
    return version


def subscribe(
    user_id: int,
    *,
    actor: audit.Actor,
    now: datetime,
    plan_code: str,
    starts_on: date,
    ends_on: date | None = None,
    version_number: int | None = None,
) -> Subscription:
    """Put the user on the plan for these inclusive billing days; an open end is for ever.

    The subscription follows the plan's versions unless pinned to one. Raises PlanNotFound,
    VersionNotFound, VersionNotPublished, SubscriptionOverlap and CurrencyChange.
    """
    if ends_on is not None and ends_on < starts_on:
        raise InvalidError.at("ends_on", "The last day comes before the first.")
    plan = get_plan(plan_code)
    version = None if version_number is None else get_version(plan_code, version_number)
    if version is not None and version.published_at is None:
        raise VersionNotPublished(f"Version {version_number} of {plan_code} is a draft.")
    # Only one writer at a time may change the subscriptions of a user.
    db.session.execute(select(User.id).where(User.id == user_id).with_for_update())
    _require_free(user_id, starts_on, ends_on)
    _require_same_currency_within_months(user_id, plan, starts_on, ends_on)
    subscription = Subscription(
        user_id=user_id,
        plan_id=plan.id,
        plan_version_id=version.id if version else None,
        starts_on=starts_on,
        ends_on=ends_on,
        created_at=now,
    )
    db.session.add(subscription)
    db.session.flush()
    audit.record(
        "subscription.created",
        actor=actor,
        now=now,
        object_type="subscription",
        object_id=subscription.id,
        changes={
            "user_id": user_id,
            "plan": plan_code,
            "plan_version": version_number,
            "starts_on": starts_on.isoformat(),
            "ends_on": ends_on.isoformat() if ends_on else None,
        },
    )
    return subscription


def end_subscription(
    subscription: Subscription, *, actor: audit.Actor, now: datetime, last_day: date
) -> None:
    """Let the subscription end with this billing day, which lies within it."""
    if last_day < subscription.starts_on:
        raise InvalidError.at("ends_on", "The last day comes before the first.")
    before, subscription.ends_on = subscription.ends_on, last_day
    db.session.flush()
    audit.record(
        "subscription.ended",
        actor=actor,
        now=now,
        object_type="subscription",
        object_id=subscription.id,
        changes={
            "user_id": subscription.user_id,
            "ends_on": audit.Change(before.isoformat() if before else None, last_day.isoformat()),
        },
    )


def create_standard_plan(*, actor: audit.Actor, now: datetime, effective_from: date) -> None:
    """Create and publish the plan of a new database, unless it is there."""
    if find_plan(standard.CODE) is not None:
        return
    create_plan(
        actor=actor,
        now=now,
        code=standard.CODE,
        name=standard.NAME,
        currency=standard.CURRENCY,
    )
    charges = standard.standard_charges()
    version = create_version(standard.CODE, actor=actor, now=now, charges=charges)
    publish_version(
        standard.CODE, version.number, actor=actor, now=now, effective_from=effective_from
    )


def _lock(plan: Plan) -> None:
    db.session.execute(select(Plan.id).where(Plan.id == plan.id).with_for_update())


def _last_number(plan: Plan) -> int:
    _lock(plan)
    query = select(func.max(PlanVersion.number)).where(PlanVersion.plan_id == plan.id)
    return db.session.scalar(query) or 0


def _require_free(user_id: int, starts_on: date, ends_on: date | None) -> None:
    query = select(Subscription).where(
        Subscription.user_id == user_id,
        or_(Subscription.ends_on.is_(None), Subscription.ends_on >= starts_on),
    )
    if ends_on is not None:
        query = query.where(Subscription.starts_on <= ends_on)
    other = db.session.scalars(query.limit(1)).first()
    if other is not None:
        until = f"until {other.ends_on}" if other.ends_on else "with no end"
        raise SubscriptionOverlap(
            f"The user has a subscription from {other.starts_on} {until}. End it first."
        )


def _require_same_currency_within_months(
    user_id: int, plan: Plan, starts_on: date, ends_on: date | None
) -> None:
    first = Month.of(starts_on).first
    last = Month.of(ends_on).last if ends_on else None
    query = (
        select(Plan.currency)
        .join(Subscription, Subscription.plan_id == Plan.id)
        .where(
            Subscription.user_id == user_id,
            Plan.currency != plan.currency,
            or_(Subscription.ends_on.is_(None), Subscription.ends_on >= first),
        )
    )
    if last is not None:
        query = query.where(Subscription.starts_on <= last)
    if db.session.scalars(query.limit(1)).first() is not None:
        day = Month.of(starts_on).last + timedelta(days=1)
        raise CurrencyChange.at(
            "starts_on", f"A move to another currency starts on the 1st, such as {day}."
        )
