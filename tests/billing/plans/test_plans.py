"""Plans, their versions and who is on them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
from apiflask import APIFlask

from billtrack.billing.plans.models import Plan, PlanVersion, Subscription
from billtrack.billing.plans.operations import (
    SubscriptionOverlap,
    VersionPublished,
    create_plan,
    create_version,
    end_subscription,
    publish_version,
    subscribe,
)
from billtrack.billing.plans.queries import price_spans
from billtrack.billing.pricing.charges import parse_charge
from billtrack.core.errors import BilltrackError, InvalidError
from billtrack.core.periods import DateRange
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.cast import SYSTEM, Cast
from tests.usage.racing import in_threads, overlapping

NOW = datetime.now(UTC)
CALLS = parse_charge({"meter": "api_calls", "model": "per_unit", "unit_price": "0.000000000001"})


@pytest.fixture
def free(cast: Cast) -> int:
    """A customer on no plan."""
    with transaction() as session:
        session.query(Subscription).filter_by(user_id=cast.customer.id).delete()
    return cast.customer.id


def test_a_new_customer_is_on_the_standard_plan_from_the_first(cast: Cast) -> None:
    answer = cast.customer.get(f"/api/v1/users/{cast.customer.id}/subscriptions").get_json()
    (row,) = answer["data"]
    assert row["plan"] == "standard"
    assert row["starts_on"] == NOW.date().replace(day=1).isoformat()
    assert (row["ends_on"], row["plan_version"]) == (None, None)
    providers = cast.admin.get(f"/api/v1/users/{cast.provider.id}/subscriptions").get_json()
    assert providers["data"] == []


def test_a_published_version_never_changes(app: APIFlask) -> None:
    make_plan("p", date(2026, 10, 1))
    for day in (date(2026, 10, 1), date(2027, 1, 1)):
        assert refused(publish, "p", 1, day) == "version_published"
    plan = db.session.query(Plan).filter_by(code="p").one()
    assert [version.effective_from for version in plan.versions] == [date(2026, 10, 1)]


def test_versions_take_effect_one_after_the_other(app: APIFlask) -> None:
    make_plan("p", date(2026, 10, 1))
    draft("p")
    for day in (date(2026, 10, 1), date(2026, 9, 30)):
        assert refused(publish, "p", 2, day) == "effective_date_taken"
    publish("p", 2, date(2026, 10, 2))
    assert refused(publish, "p", 3, date(2026, 11, 1)) == "plan_version_not_found"
    assert refused(publish, "q", 1, date(2026, 11, 1)) == "plan_not_found"


def test_one_of_two_publishes_a_version(app: APIFlask) -> None:
    make_plan("p", date(2026, 10, 1))
    draft("p")

    def publish_on(day: date) -> int:
        return publish_version("p", 2, actor=SYSTEM, now=NOW, effective_from=day).number

    first, second = date(2026, 11, 1), date(2026, 12, 1)
    with pytest.raises(VersionPublished):
        overlapping(app, partial(publish_on, first), partial(publish_on, second))
    stored = db.session.query(PlanVersion).filter_by(number=2).one()
    assert stored.effective_from == first


def test_versions_that_are_made_at_once_have_numbers_of_their_own(app: APIFlask) -> None:
    make_plan("p", date(2026, 10, 1))
    assert sorted(in_threads(app, [partial(draft, "p")] * 4)) == [2, 3, 4, 5]


def test_a_plan_has_a_code_and_a_currency_of_its_own(app: APIFlask) -> None:
    make_plan("p", date(2026, 10, 1))
    assert refused(make_plan, "p", date(2026, 10, 1)) == "plan_code_taken"
    with pytest.raises(ValueError, match="ISO 4217"):
        make_plan("q", date(2026, 10, 1), currency="XYZ")
    assert db.session.query(Plan).count() == 2


def test_a_charge_prices_a_known_meter_once(app: APIFlask) -> None:
    make_plan("p", date(2026, 10, 1))
    unknown = parse_charge({"meter": "nothing", "model": "per_unit", "unit_price": "1"})
    for charges, field in (([CALLS, unknown], "charges.1.meter"), ([CALLS] * 2, "charges.1.meter")):
        with pytest.raises(InvalidError) as caught, transaction():
            create_version("p", actor=SYSTEM, now=NOW, charges=charges)
        assert [error.field for error in caught.value.errors] == [field]
    assert db.session.query(PlanVersion).count() == 2


def test_prices_are_read_back_to_the_last_place(free: int) -> None:
    with transaction():
        create_plan(actor=SYSTEM, now=NOW, code="p", name="P", currency="USD")
        create_version(
            "p",
            actor=SYSTEM,
            now=NOW,
            charges=[CALLS],
            base_fee=Fraction("123456789012345678.000000000001"),
            minimum_commitment=Fraction("0.000000000001"),
        )
        publish_version("p", 1, actor=SYSTEM, now=NOW, effective_from=date(2026, 10, 1))
        on(free, "p", date(2026, 10, 1))
    (span,) = price_spans([free], october())[free]
    assert span.prices.base_fee == Fraction("123456789012345678.000000000001")
    assert span.prices.minimum_commitment == Fraction(1, 10**12)
    assert span.prices.charges == (CALLS,)


def test_a_subscription_follows_its_plan_unless_pinned(free: int) -> None:
    make_plan("p", date(2026, 10, 10))
    draft("p")
    publish("p", 2, date(2026, 10, 20))
    draft("p")
    with transaction():
        on(free, "p", date(2026, 10, 5), date(2026, 10, 25))
        on(free, "p", date(2026, 10, 27), version_number=1)
    spans = price_spans([free], october())[free]
    assert [(span.days.first.day, span.days.last.day, span.prices.version) for span in spans] == [
        (5, 19, 1),  # the first version applies from the beginning of time
        (20, 25, 2),
        (27, 31, 1),
    ]


def test_nobody_is_put_on_a_draft(free: int) -> None:
    make_plan("p", date(2026, 10, 1))
    draft("p")
    assert refused(try_on, free, version_number=2) == "version_not_published"
    assert refused(try_on, free, version_number=9) == "plan_version_not_found"


def test_subscriptions_never_overlap(free: int) -> None:
    with transaction():
        on(free, "standard", date(2026, 10, 10), date(2026, 10, 20))
    overlap = "subscription_overlap"
    for first, last, code in (
        ("2026-10-10", "2026-10-10", overlap),
        ("2026-10-01", "2026-10-10", overlap),
        ("2026-10-20", None, overlap),
        ("2026-09-01", None, overlap),
        ("2026-10-12", "2026-10-13", overlap),
        ("2026-10-22", "2026-10-21", "invalid"),
        ("2026-10-01", "2026-10-09", None),
        ("2026-10-21", None, None),
        ("2027-01-01", None, overlap),
    ):
        ends_on = date.fromisoformat(last) if last else None
        answer = refused(try_on, free, "standard", date.fromisoformat(first), ends_on)
        assert answer == code, (first, last)


def test_one_of_two_overlapping_subscriptions_is_stored(app: APIFlask, free: int) -> None:
    days = [date(2026, 10, 1), date(2026, 10, 5)]
    with pytest.raises(SubscriptionOverlap):
        overlapping(app, *(partial(on, free, "standard", day) for day in days))
    stored = db.session.query(Subscription).filter_by(user_id=free).one()
    assert stored.starts_on == days[0]


def test_a_currency_changes_on_the_first_only(free: int) -> None:
    make_plan("euro", date(2026, 10, 1), currency="EUR")
    with transaction():
        on(free, "standard", date(2026, 10, 5), date(2026, 10, 15))
    mid_month = "currency_change_mid_month"
    for first, last, code in (
        ("2026-10-16", None, mid_month),
        ("2026-10-31", None, mid_month),
        ("2026-09-01", "2026-10-02", mid_month),
        ("2026-09-01", "2026-09-30", None),
        ("2026-11-20", None, None),
        ("2026-11-01", "2026-11-19", None),
    ):
        ends_on = date.fromisoformat(last) if last else None
        answer = refused(try_on, free, "euro", date.fromisoformat(first), ends_on)
        assert answer == code, (first, last)


def test_a_subscription_ends_within_itself(free: int) -> None:
    with transaction():
        row = on(free, "standard", date(2026, 10, 5))

    def end(day: date) -> None:
        with transaction() as session:
            found = session.get_one(Subscription, row.id)
            end_subscription(found, actor=SYSTEM, now=NOW, last_day=day)

    assert refused(end, date(2026, 10, 4)) == "invalid"
    end(date(2026, 10, 5))
    spans = price_spans([free], october())[free]
    assert [span.days for span in spans] == [DateRange(date(2026, 10, 5), date(2026, 10, 5))]


def test_it_shows_drafts_and_what_is_published(cast: Cast) -> None:
    make_plan("p", date(2026, 10, 1))
    draft("p")
    plan = cast.manager.get("/api/v1/plans/p").get_json()
    assert [(row["number"], row["status"], row["effective_from"]) for row in plan["versions"]] == [
        (1, "published", "2026-10-01"),
        (2, "draft", None),
    ]
    assert plan["versions"][0]["charges"][0]["unit_price"] == "0.000000000001"
    assert timedelta(0) <= datetime.now(UTC) - datetime.fromisoformat(plan["created_at"])


def make_plan(code: str, effective_from: date, *, currency: str = "USD") -> None:
    with transaction():
        create_plan(actor=SYSTEM, now=NOW, code=code, name=code, currency=currency)
        create_version(code, actor=SYSTEM, now=NOW, charges=[CALLS])
        publish_version(code, 1, actor=SYSTEM, now=NOW, effective_from=effective_from)


def draft(code: str) -> int:
    with transaction():
        return create_version(code, actor=SYSTEM, now=NOW, charges=[CALLS]).number


def publish(code: str, number: int, day: date) -> None:
    with transaction():
        publish_version(code, number, actor=SYSTEM, now=NOW, effective_from=day)


def on(
    user_id: int,
    plan: str,
    starts_on: date,
    ends_on: date | None = None,
    *,
    version_number: int | None = None,
) -> Subscription:
    return subscribe(
        user_id,
        actor=SYSTEM,
        now=NOW,
        plan_code=plan,
        starts_on=starts_on,
        ends_on=ends_on,
        version_number=version_number,
    )


def try_on(
    user_id: int,
    plan: str = "p",
    starts_on: date = date(2026, 10, 1),
    ends_on: date | None = None,
    *,
    version_number: int | None = None,
) -> None:
    with transaction():
        on(user_id, plan, starts_on, ends_on, version_number=version_number)


def refused(action: Callable[..., object], *args: Any, **named: Any) -> str | None:
    """Return the code of the refusal, or None when the action was done."""
    try:
        action(*args, **named)
    except BilltrackError as error:
        return error.code
    return None


def october() -> DateRange:
    return DateRange(date(2026, 10, 1), date(2026, 10, 31))
