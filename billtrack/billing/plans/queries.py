"""Read plans and subscriptions, and turn them into the prices of every day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from fractions import Fraction

from sqlalchemy import or_, select
from sqlalchemy.orm import joinedload, selectinload

from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.billing.plans.models import Plan, PlanVersion, Subscription
from billtrack.billing.pricing.charges import PriceList, parse_charge
from billtrack.billing.pricing.parts import PricedSpan
from billtrack.core.errors import NotFoundError
from billtrack.core.periods import DateRange
from billtrack.platform.extensions import db

CHUNK = 500


class PlanNotFound(NotFoundError):
    """There is no such plan, or it is not theirs to see."""

    code = "plan_not_found"


class VersionNotFound(NotFoundError):
    """The plan has no version of this number."""

    code = "plan_version_not_found"


def find_plan(code: str) -> Plan | None:
    """Return the plan with this code, or None."""
    return db.session.scalar(select(Plan).where(Plan.code == code))


def get_plan(code: str) -> Plan:
    """Return the plan with this code; raises PlanNotFound."""
    plan = find_plan(code)
    if plan is None:
        raise PlanNotFound(f"There is no plan {code}.")
    return plan


def get_visible_plan(code: str, *, reach: Reach) -> Plan:
    """Return the plan with its versions; raises PlanNotFound outside the reach."""
    for plan in list_plans(reach=reach):
        if plan.code == code:
            return plan
    raise PlanNotFound(f"There is no plan {code} that you can see.")


def get_version(plan_code: str, number: int) -> PlanVersion:
    """Return the version; raises PlanNotFound or VersionNotFound."""
    plan = get_plan(plan_code)
    version = db.session.scalar(
        select(PlanVersion).where(PlanVersion.plan_id == plan.id, PlanVersion.number == number)
    )
    if version is None:
        raise VersionNotFound(f"Plan {plan_code} has no version {number}.")
    return version


def list_plans(*, reach: Reach) -> Sequence[Plan]:
    """Return the plans with versions and charges; a customer's reach covers its own plans."""
    query = select(Plan).order_by(Plan.code)
    if reach.breadth is not Breadth.ALL:
        own = select(Subscription.plan_id).where(Subscription.user_id == reach.user_id)
        query = query.where(Plan.id.in_(own))
    loading = selectinload(Plan.versions).selectinload(PlanVersion.charges)
    return db.session.scalars(query.options(loading)).all()


def list_subscriptions(user_id: int) -> Sequence[tuple[Subscription, Plan]]:
    """Return the subscriptions of a user with their plans, the newest first."""
    query = (
        select(Subscription, Plan)
        .join(Plan, Plan.id == Subscription.plan_id)
        .where(Subscription.user_id == user_id)
        .order_by(Subscription.starts_on.desc())
    )
    return [(row[0], row[1]) for row in db.session.execute(query)]


def plan_on(user_id: int, day: date) -> Plan | None:
    """Return the plan the user is on that day, or None."""
    return plans_on([user_id], day).get(user_id)


def plans_on(user_ids: Sequence[int], day: date) -> dict[int, Plan]:
    """Return the plan of each of these users that has one that day, in one query."""
    query = (
        select(Subscription.user_id, Plan)
        .join(Plan, Plan.id == Subscription.plan_id)
        .where(
            Subscription.user_id.in_(user_ids),
            Subscription.starts_on <= day,
            or_(Subscription.ends_on.is_(None), Subscription.ends_on >= day),
        )
    )
    return dict(db.session.execute(query).all())


def price_spans(user_ids: Sequence[int], days: DateRange) -> dict[int, list[PricedSpan]]:
    """Return the price lists of these users over the inclusive days, in order, with gaps."""
    spans: dict[int, list[PricedSpan]] = {user_id: [] for user_id in user_ids}
    timelines = _timelines()
    for start in range(0, len(user_ids), CHUNK):
        query = (
            select(Subscription)
            .where(
                Subscription.user_id.in_(user_ids[start : start + CHUNK]),
                Subscription.starts_on <= days.last,
                or_(Subscription.ends_on.is_(None), Subscription.ends_on >= days.first),
            )
            .order_by(Subscription.starts_on)
        )
        for subscription in db.session.scalars(query):
            last = min(subscription.ends_on or days.last, days.last)
            covered = DateRange(max(subscription.starts_on, days.first), last)
            timeline = timelines.of(subscription)
            spans[subscription.user_id] += _cut(timeline, covered)
    return spans


class _Timelines:
    """Every published version, as spans by plan and by version."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._by_plan: dict[int, list[PricedSpan]] = {}
        self._by_version: dict[int, list[PricedSpan]] = {}
        for plan in plans:
            published = [version for version in plan.versions if version.effective_from]
            published.sort(key=lambda version: version.effective_from or date.min)
            starts = [date.min] + [v.effective_from or date.min for v in published[1:]]
            ends = [start - timedelta(days=1) for start in starts[1:]] + [date.max]
            rows = zip(published, starts, ends, strict=False)
            self._by_plan[plan.id] = [
                PricedSpan(DateRange(start, end), _price_list(plan, version))
                for version, start, end in rows
            ]
            for version in published:
                whole = DateRange(date.min, date.max)
                self._by_version[version.id] = [PricedSpan(whole, _price_list(plan, version))]

    def of(self, subscription: Subscription) -> list[PricedSpan]:
        """Return the prices that the subscription follows, from the beginning of time."""
        if subscription.plan_version_id is not None:
            return self._by_version[subscription.plan_version_id]
        return self._by_plan[subscription.plan_id]


# One statement for all of it: of three small ones the ways to the server take longest.
_PRICES = select(Plan).options(joinedload(Plan.versions).joinedload(PlanVersion.charges))


def _timelines() -> _Timelines:
    return _Timelines(db.session.scalars(_PRICES).unique().all())


def _cut(timeline: Sequence[PricedSpan], days: DateRange) -> list[PricedSpan]:
    cuts = ((span, span.days.intersect(days)) for span in timeline)
    return [PricedSpan(common, span.prices) for span, common in cuts if common is not None]


def _price_list(plan: Plan, version: PlanVersion) -> PriceList:
    return PriceList(
        plan=plan.code,
        version=version.number,
        currency=plan.currency,
        base_fee=Fraction(version.base_fee),
        minimum_commitment=Fraction(version.minimum_commitment),
        charges=tuple(parse_charge(charge.definition) for charge in version.charges),
    )
