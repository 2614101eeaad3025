"""POST and GET /api/v1/usage: the seed's routes and the idempotency of single records."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from billtrack.core.periods import Month
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.usage.records.models import UsageDaily, UsageKey, UsageMonthly, UsageRecord
from tests.cast import Cast, create_record

SEED = {"quantity": 500000, "event": "api_calls"}


def count(model: type) -> int:
    db.session.rollback()
    return db.session.query(model).count()


@pytest.mark.parametrize("path", ["/api/v1/usage/", "/api/v1/usage"])
def test_it_records_usage_and_answers_with_the_record(cast: Cast, path: str) -> None:
    answer = cast.provider.post(path, {**SEED, "user_id": cast.customer.id})
    assert answer.status_code == 201
    record = answer.get_json()
    assert record["quantity"] == 500000
    assert record["user_id"] == cast.customer.id
    assert record["source"] == str(cast.provider.id)
    assert list(record) == [
        "id",
        "user_id",
        "event",
        "quantity",
        "occurred_at",
        "created_at",
        "idempotency_key",
        "source",
        "metadata",
        "reverses_id",
        "reversed_by_id",
    ]
    again = cast.provider.get(f"/api/v1/usage/{record['id']}").get_json()
    assert again == record


def test_it_answers_a_repeated_request_with_the_original(cast: Cast) -> None:
    body = {**SEED, "user_id": cast.customer.id, "idempotency_key": "k-1"}
    first = cast.provider.post("/api/v1/usage/", body)
    second = cast.provider.post("/api/v1/usage/", body)
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.get_json() == second.get_json()
    assert (count(UsageRecord), count(UsageKey)) == (1, 1)


def test_it_refuses_the_same_key_with_other_content(cast: Cast) -> None:
    body = {**SEED, "user_id": cast.customer.id, "idempotency_key": "k-1"}
    cast.provider.post("/api/v1/usage/", body)
    answer = cast.provider.post("/api/v1/usage/", {**body, "quantity": 1})
    assert answer.status_code == 409
    assert answer.get_json()["code"] == "idempotency_conflict"
    assert count(UsageRecord) == 1


def test_it_keeps_keys_apart_by_account(cast: Cast) -> None:
    body = {**SEED, "user_id": cast.customer.id, "idempotency_key": "k-1"}
    first = cast.provider.post("/api/v1/usage/", body)
    second = cast.other_provider.post("/api/v1/usage/", {**body, "quantity": 7})
    assert (first.status_code, second.status_code) == (201, 201)


def test_it_answers_a_replay_when_the_user_is_deactivated_since(cast: Cast) -> None:
    body = {**SEED, "user_id": cast.customer.id, "idempotency_key": "k-1"}
    first = cast.provider.post("/api/v1/usage/", body)
    cast.admin.post(f"/api/v1/users/{cast.customer.id}/deactivate")
    again = cast.provider.post("/api/v1/usage/", body)
    fresh = cast.provider.post("/api/v1/usage/", {**body, "idempotency_key": "k-2"})
    assert again.status_code == 200
    assert again.get_json()["id"] == first.get_json()["id"]
    assert fresh.status_code == 422
    assert fresh.get_json()["code"] == "inactive_user"


def test_it_lets_a_refused_record_use_up_no_key(cast: Cast) -> None:
    body = {**SEED, "user_id": cast.customer.id, "idempotency_key": "k-1"}
    refused = cast.provider.post("/api/v1/usage/", {**body, "event": "unheard_of"})
    accepted = cast.provider.post("/api/v1/usage/", body)
    assert (refused.status_code, accepted.status_code) == (422, 201)


def test_it_takes_the_key_from_the_header_alike(cast: Cast) -> None:
    body = {**SEED, "user_id": cast.customer.id}
    header = {"Idempotency-Key": "k-1"}
    first = cast.provider.post("/api/v1/usage/", body, headers=header)
    second = cast.provider.post("/api/v1/usage/", {**body, "idempotency_key": "k-1"})
    both = cast.provider.post("/api/v1/usage/", {**body, "idempotency_key": "k-2"}, headers=header)
    assert (first.status_code, second.status_code, both.status_code) == (201, 200, 422)
    assert both.get_json()["errors"][0]["field"] == "idempotency_key"


def test_it_compares_what_was_sent_so_an_omitted_instant_stays_omitted(cast: Cast) -> None:
    body = {**SEED, "user_id": cast.customer.id, "idempotency_key": "k-1"}
    record = cast.provider.post("/api/v1/usage/", body).get_json()
    answer = cast.provider.post("/api/v1/usage/", {**body, "occurred_at": record["occurred_at"]})
    assert answer.status_code == 409


def test_it_keeps_the_rollup_of_the_billing_day(cast: Cast) -> None:
    yesterday = datetime.now(UTC) - timedelta(days=1)
    create_record(cast, quantity=5, occurred_at=yesterday)
    create_record(cast, quantity=7, occurred_at=yesterday)
    row = db.session.query(UsageDaily).one()
    assert (row.quantity, row.count) == (12, 2)
    assert row.day == current_calendar().day_of(yesterday)


def test_it_reverses_a_record_once(cast: Cast) -> None:
    record = create_record(cast, quantity=70)
    path = f"/api/v1/usage/{record.id}/reverse"
    first = cast.provider.post(path, {"reason": "sent twice"})
    key = {"Idempotency-Key": "no key is needed"}
    second = cast.provider.post(path, {"reason": "sent two times"}, headers=key)
    assert (first.status_code, second.status_code) == (201, 200)
    reversal = first.get_json()
    assert second.get_json()["id"] == reversal["id"]
    assert reversal["quantity"] == -70
    assert reversal["reverses_id"] == record.id
    assert datetime.fromisoformat(reversal["occurred_at"]) == record.occurred_at
    original = cast.provider.get(f"/api/v1/usage/{record.id}").get_json()
    assert original["reversed_by_id"] == reversal["id"]
    of_reversal = cast.provider.post(f"/api/v1/usage/{reversal['id']}/reverse", {"reason": "no"})
    assert of_reversal.status_code == 409
    assert db.session.query(UsageDaily).one().quantity == 0


def test_it_refuses_what_would_take_a_month_beyond_the_limit(cast: Cast) -> None:
    record = create_record(cast, quantity=10**15)
    with transaction() as session:
        session.query(UsageMonthly).one().quantity = 10**18 - 5
    body = {"event": "api_calls", "user_id": cast.customer.id}
    over = cast.provider.post("/api/v1/usage/", {**body, "quantity": 6})
    exact = cast.provider.post("/api/v1/usage/", {**body, "quantity": 5})
    assert record.quantity == 10**15
    assert (over.status_code, exact.status_code) == (422, 201)
    assert over.get_json()["code"] == "quantity_overflow"


def test_it_lists_the_last_recorded_first_and_pages(cast: Cast) -> None:
    ids = [create_record(cast, quantity=n).id for n in range(1, 6)]
    first = cast.manager.get("/api/v1/usage?limit=2")
    page = first.get_json()
    assert [record["id"] for record in page["data"]] == ids[:2:-1]
    assert 'rel="next"' in first.headers["Link"]
    rest = cast.manager.get(f"/api/v1/usage?limit=50&cursor={page['next_cursor']}").get_json()
    assert [record["id"] for record in rest["data"]] == ids[2::-1]
    assert rest["next_cursor"] is None


def test_it_summarizes_by_day_month_and_event(cast: Cast) -> None:
    now = datetime.now(UTC)
    create_record(cast, quantity=5, occurred_at=now)
    create_record(cast, quantity=6, occurred_at=now)
    day = current_calendar().day_of(now)
    path = f"/api/v1/usage/summary?user_id={cast.customer.id}&from={day}&to={day}"
    total = {"event": "api_calls", "quantity": 11, "count": 2}
    assert cast.manager.get(path).get_json()["data"] == [total]
    by_day = cast.manager.get(path + "&group_by=day").get_json()["data"]
    assert by_day == [{"day": str(day), **total}]
    by_month = cast.provider.get(path + "&group_by=month").get_json()["data"]
    assert by_month == [{"month": str(Month.of(day)), **total}]
