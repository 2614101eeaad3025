"""/plans and /users/:id/subscriptions, to read."""

from __future__ import annotations

from datetime import date, datetime
from fractions import Fraction
from typing import Any

from pydantic import BaseModel, JsonValue

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.accounts.users.queries import UserNotFound, find_user
from billtrack.api.v1.blueprint import api
from billtrack.billing.plans import queries
from billtrack.billing.plans.models import Plan, PlanVersion, Subscription
from billtrack.core.money import format_exact
from billtrack.usage.ingest.fields import Id


class PlanVersionOut(BaseModel):
    """The prices of a plan from a day on; amounts are in major units of its currency."""

    number: int
    status: str
    effective_from: date | None
    base_fee: str
    minimum_commitment: str
    charges: list[dict[str, JsonValue]]


class PlanOut(BaseModel):
    """A price list in one currency."""

    code: str
    name: str
    currency: str
    created_at: datetime
    versions: list[PlanVersionOut]


class PlanList(BaseModel):
    """Plans, by code."""

    data: list[PlanOut]
    next_cursor: str | None


class SubscriptionOut(BaseModel):
    """A user on a plan over inclusive billing dates."""

    id: int
    user_id: Id
    plan: str
    plan_version: int | None
    starts_on: date
    ends_on: date | None


class SubscriptionList(BaseModel):
    """Subscriptions, the newest first."""

    data: list[SubscriptionOut]
    next_cursor: str | None


@api.get("/plans")
@access.require(Permission.PLANS_READ)
@api.output(PlanList)
def list_plans() -> dict[str, Any]:
    """List plans with their versions and charges; a customer sees its own."""
    plans = queries.list_plans(reach=access.reach(Permission.PLANS_READ))
    return {"data": [_plan_json(plan) for plan in plans], "next_cursor": None}


@api.get("/plans/<code:code>")
@access.require(Permission.PLANS_READ)
@api.output(PlanOut)
def show_plan(code: str) -> dict[str, Any]:
    """Show one plan."""
    return _plan_json(queries.get_visible_plan(code, reach=access.reach(Permission.PLANS_READ)))


@api.get("/users/<id:user_id>/subscriptions")
@access.require(Permission.SUBSCRIPTIONS_READ)
@api.output(SubscriptionList)
def list_subscriptions(user_id: int) -> dict[str, Any]:
    """List the subscriptions of a user, the newest first."""
    reach = access.reach(Permission.SUBSCRIPTIONS_READ)
    if not reach.covers(user_id) or find_user(user_id) is None:
        raise UserNotFound(user_id)
    rows = queries.list_subscriptions(user_id)
    data = [_subscription_json(subscription, plan) for subscription, plan in rows]
    return {"data": data, "next_cursor": None}


def _plan_json(plan: Plan) -> dict[str, Any]:
    return {
        "code": plan.code,
        "name": plan.name,
        "currency": plan.currency,
        "created_at": plan.created_at,
        "versions": [_version_json(version) for version in plan.versions],
    }


def _version_json(version: PlanVersion) -> dict[str, Any]:
    return {
        "number": version.number,
        "status": "published" if version.published_at else "draft",
        "effective_from": version.effective_from,
        "base_fee": format_exact(Fraction(version.base_fee)),
        "minimum_commitment": format_exact(Fraction(version.minimum_commitment)),
        "charges": [charge.definition for charge in version.charges],
    }


def _subscription_json(subscription: Subscription, plan: Plan) -> dict[str, Any]:
    numbers = {version.id: version.number for version in plan.versions}
    pinned = subscription.plan_version_id
    return {
        "id": subscription.id,
        "user_id": subscription.user_id,
        "plan": plan.code,
        "plan_version": numbers[pinned] if pinned is not None else None,
        "starts_on": subscription.starts_on,
        "ends_on": subscription.ends_on,
    }
