"""Statements and quotes through the API: what a period costs, every line explained."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any

from billtrack.billing.plans.models import PlanVersion, Subscription
from billtrack.billing.plans.operations import (
    create_plan,
    create_version,
    end_subscription,
    publish_version,
    subscribe,
)
from billtrack.billing.plans.standard import standard_charges
from billtrack.billing.pricing.charges import charge_to_json, parse_charge
from billtrack.core.periods import Month
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar
from billtrack.usage.records.models import Meter, UsageDaily
from tests.cast import SYSTEM, Cast, Member, create_record

NOW = datetime.now(UTC)
OCTOBER = Month(2026, 10)
STANDARD = [charge_to_json(charge) for charge in standard_charges()]


def test_it_prices_the_seed_of_half_a_million_calls(cast: Cast) -> None:
    body = {"quantity": 500_000, "event": "api_calls", "user_id": cast.customer.id}
    assert cast.provider.post("/api/v1/usage/", body).status_code == 201
    statement = cast.customer.get(f"/api/v1/users/{cast.customer.id}/statement").get_json()
    assert (statement["total"], statement["subtotal"]) == ("205.00", "205.00")
    assert (statement["currency"], statement["status"]) == ("USD", "open")
    line = statement["lines"][0]
    assert [entry["amount"] for entry in statement["lines"][1:]] == ["0.00"] * 3
    assert [
        (tier["above"], tier["up_to"], tier["quantity"], tier["unit_price"], tier["amount"])
        for tier in line["tiers"]
    ] == [
        (0, 10_000, 10_000, "0", "0"),
        (10_000, 100_000, 90_000, "0.5", "45"),
        (100_000, 1_000_000, 400_000, "0.4", "160"),
    ]
    assert (line["model_amount"], line["rounding"], line["amount"]) == ("205", "0", "205.00")
    assert (line["plan"], line["plan_version"], line["unit"]) == ("standard", 1, "call")


def test_a_quote_says_what_the_statement_says(cast: Cast) -> None:
    usage = {"api_calls": 1_234_567, "vm_uptime": 3_000_001, "cpu_time": 7, "data_storage": 99_999}
    subscribe_from(cast.customer, OCTOBER.first)
    for meter, quantity in usage.items():
        used(cast.customer, meter, date(2026, 10, 9), quantity)
    statement = statement_of(cast, "month=2026-10")
    body = {"currency": "USD", "charges": STANDARD, "usage": usage}
    quote = cast.customer.post("/api/v1/quote", body).get_json()
    assert quote["total"] == statement["total"]
    same = ("meter", "quantity", "billable_quantity", "tiers", "exact_amount", "rounding", "amount")
    assert [[line[name] for name in same] for line in quote["lines"]] == [
        [line[name] for name in same] for line in statement["lines"]
    ]
    for line in statement["lines"]:
        assert Fraction(line["exact_amount"]) + Fraction(line["rounding"]) == Fraction(
            line["amount"]
        )
    assert set(quote) == {"currency", "lines", "subtotal", "total"}


def test_a_quote_rounds_to_the_minor_unit(cast: Cast) -> None:
    charge = {"meter": "api_calls", "model": "per_unit", "unit_price": "0.50"}
    for currency, amount in (("JPY", "1"), ("USD", "0.50"), ("KWD", "0.500"), ("CLF", "0.5000")):
        body = {"currency": currency, "charges": [charge], "usage": {"api_calls": 1}}
        assert cast.customer.post("/api/v1/quote", body).get_json()["total"] == amount


def test_a_version_that_changes_storage_leaves_the_tiers_of_calls_alone(cast: Cast) -> None:
    subscribe_from(cast.customer, OCTOBER.first)
    for day in (2, 28):
        used(cast.customer, "api_calls", date(2026, 10, day), 250_000)
        used(cast.customer, "data_storage", date(2026, 10, day), 73_000)
    before = statement_of(cast, "month=2026-10")
    dearer = [storage_at(charge, "0.10") for charge in STANDARD]
    publish("standard", dearer, date(2026, 10, 16))
    after = statement_of(cast, "month=2026-10")
    calls = [line for line in after["lines"] if line["meter"] == "api_calls"]
    assert [line["amount"] for line in calls] == ["205.00"]
    # One part through both versions; it names the newer.
    assert {**calls[0], "plan_version": 1} == before["lines"][0]
    storage = [line for line in after["lines"] if line["meter"] == "data_storage"]
    assert [(line["period"]["from"], line["period"]["to"]) for line in storage] == [
        ("2026-10-01", "2026-10-15"),
        ("2026-10-16", "2026-10-31"),
    ]
    assert [line["quantity"] for line in storage] == [73_000] * 2
    assert [line["plan_version"] for line in storage] == [1, 2]
    assert len([line for line in before["lines"] if line["meter"] == "data_storage"]) == 1


def test_ranges_that_tile_the_month_add_up_to_it(cast: Cast) -> None:
    make_rich_plan()
    subscribe_from(cast.customer, date(2026, 10, 4), plan="rich")
    for day in range(1, 32, 3):
        used(cast.customer, "api_calls", date(2026, 10, day), 3_333 * day)
        used(cast.customer, "vm_uptime", date(2026, 10, day), 1_001 * day)
    month = statement_of(cast, "month=2026-10")
    assert {line["kind"] for line in month["lines"]} == {
        "usage",
        "base_fee",
        "commitment",
        "unpriced",
    }
    for cuts in ([1], [10, 16, 17], list(range(1, 31))):
        ranges = zip([1, *(cut + 1 for cut in cuts)], [*cuts, 31], strict=True)
        parts = [
            Decimal(statement_of(cast, f"from=2026-10-{first:02d}&to=2026-10-{last:02d}")["total"])
            for first, last in ranges
        ]
        assert sum(parts) == Decimal(month["total"]) != 0


def test_ranges_over_months_add_up_too(cast: Cast) -> None:
    subscribe_from(cast.customer, date(2026, 8, 15))
    for month, day in ((8, 20), (9, 1), (9, 30), (10, 31)):
        used(cast.customer, "api_calls", date(2026, month, day), 123_457)
    months = [statement_of(cast, f"month=2026-{month:02d}")["total"] for month in (8, 9, 10)]
    quarter = statement_of(cast, "from=2026-08-01&to=2026-10-31")
    assert sum(map(Decimal, months)) == Decimal(quarter["total"]) != 0


def test_usage_without_a_price_is_shown(cast: Cast) -> None:
    make_rich_plan()
    subscribe_from(cast.customer, date(2026, 10, 10), plan="rich")
    used(cast.customer, "api_calls", date(2026, 10, 9), 500)
    used(cast.customer, "data_storage", date(2026, 10, 20), 7)
    statement = statement_of(cast, "month=2026-10")
    unpriced = [line for line in statement["lines"] if line["kind"] == "unpriced"]
    assert [(line["meter"], line["quantity"], line["amount"]) for line in unpriced] == [
        ("api_calls", 500, "0.00"),
        ("data_storage", 7, "0.00"),
    ]


def test_a_subscription_may_start_in_the_past(cast: Cast) -> None:
    used(cast.customer, "api_calls", date(2026, 9, 9), 500_000)
    assert statement_of(cast, "month=2026-09")["total"] == "0.00"
    # The first version prices the time before its own date.
    subscribe_from(cast.customer, date(2026, 9, 1))
    assert statement_of(cast, "month=2026-09")["total"] == "205.00"


def test_a_reversal_takes_the_cost_back(cast: Cast) -> None:
    record = create_record(cast, quantity=500_000)
    again = create_record(cast, quantity=100_000)
    for made in (record, again):
        cast.provider.post(f"/api/v1/usage/{made.id}/reverse", {"reason": "wrong"})
    statement = cast.customer.get(f"/api/v1/users/{cast.customer.id}/statement").get_json()
    assert statement["total"] == "0.00"


def test_a_period_is_closed_once_it_has_ended(cast: Cast) -> None:
    today = current_calendar().today(NOW)
    yesterday = today - timedelta(days=1)
    for last, status in ((today, "open"), (yesterday, "closed"), (date(2999, 1, 1), "open")):
        first = min(last, yesterday)
        if (last - first).days > 3000:
            first = last
        assert statement_of(cast, f"from={first}&to={last}")["status"] == status


def test_a_statement_says_its_period_in_instants(cast: Cast) -> None:
    period = statement_of(cast, "month=2026-02")["period"]
    assert period == {
        "from": "2026-02-01",
        "to": "2026-02-28",
        "timezone": "UTC",
        "starts_at": "2026-02-01T00:00:00Z",
        "ends_at": "2026-03-01T00:00:00Z",
    }


def test_a_move_to_another_currency_is_told_when_ranges_span_it(cast: Cast) -> None:
    make_rich_plan("EUR")
    subscribe_from(cast.customer, date(2026, 9, 1), last=date(2026, 9, 30))
    subscribe_from(cast.customer, date(2026, 10, 1), plan="rich")
    path = f"/api/v1/users/{cast.customer.id}/statement"
    answer = cast.customer.get(f"{path}?from=2026-09-01&to=2026-10-31")
    assert (answer.status_code, answer.get_json()["code"]) == (422, "mixed_currencies")
    assert statement_of(cast, "month=2026-09")["currency"] == "USD"
    assert statement_of(cast, "month=2026-10")["currency"] == "EUR"


def test_a_user_without_a_plan_has_a_statement_too(cast: Cast) -> None:
    create_record(cast, user=cast.admin, quantity=3)
    statement = cast.admin.get(f"/api/v1/users/{cast.admin.id}/statement").get_json()
    assert [line["kind"] for line in statement["lines"]] == ["unpriced"]
    assert statement["total"] == "0.00"


def statement_of(cast: Cast, period: str) -> dict[str, Any]:
    answer = cast.customer.get(f"/api/v1/users/{cast.customer.id}/statement?{period}")
    assert answer.status_code == 200, answer.text
    statement: dict[str, Any] = answer.get_json()
    return statement


def used(member: Member, meter: str, day: date, quantity: int) -> None:
    """Put usage on a day, however long ago."""
    with transaction() as session:
        meter_id = session.query(Meter).filter_by(code=meter).one().id
        row = UsageDaily(user_id=member.id, meter_id=meter_id, day=day, quantity=quantity, count=1)
        session.add(row)


def subscribe_from(
    member: Member, first: date, *, plan: str = "standard", last: date | None = None
) -> None:
    """Put the member on the plan, and on nothing else from that day on."""
    with transaction() as session:
        for row in session.query(Subscription).filter_by(user_id=member.id):
            if row.starts_on >= first:
                session.delete(row)
            else:
                before = first - timedelta(days=1)
                end_subscription(row, actor=SYSTEM, now=NOW, last_day=before)
        session.flush()
        subscribe(member.id, actor=SYSTEM, now=NOW, plan_code=plan, starts_on=first, ends_on=last)


def publish(plan: str, charges: list[dict[str, object]], day: date) -> None:
    with transaction() as session:
        # A version takes effect after those before, and the first one does so this month.
        session.query(PlanVersion).one().effective_from = date(2026, 1, 1)
        session.flush()
        version = create_version(
            plan, actor=SYSTEM, now=NOW, charges=[parse_charge(charge) for charge in charges]
        )
        publish_version(plan, version.number, actor=SYSTEM, now=NOW, effective_from=day)


def make_rich_plan(currency: str = "USD") -> None:
    """A plan with all that a line can come from, and no price for data_storage."""
    charges = [
        {
            "meter": "api_calls",
            "model": "graduated",
            "per": 7,
            "included": 5000,
            "minimum": "3.33",
            "tiers": [
                {"up_to": 9999, "unit_price": "0.0123", "flat_fee": "1"},
                {"up_to": None, "unit_price": "0.0071"},
            ],
        },
        {"meter": "vm_uptime", "model": "volume", "per": 13, "tiers": VOLUME},
    ]
    with transaction():
        create_plan(actor=SYSTEM, now=NOW, code="rich", name="Rich", currency=currency)
        version = create_version(
            "rich",
            actor=SYSTEM,
            now=NOW,
            charges=[parse_charge(charge) for charge in charges],
            base_fee=Fraction("9.99"),
            minimum_commitment=Fraction(5000),
        )
        publish_version("rich", version.number, actor=SYSTEM, now=NOW, effective_from=OCTOBER.first)


VOLUME = [
    {"up_to": 20_000, "unit_price": "0.01"},
    {"up_to": None, "unit_price": "0.003", "flat_fee": "2"},
]


def storage_at(charge: dict[str, object], price: str) -> dict[str, object]:
    if charge["meter"] != "data_storage":
        return charge
    return {**charge, "tiers": [{"up_to": None, "unit_price": price}]}
