"""POST /api/v1/usage/batch: an answer for each record, and none counted twice."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from apiflask import APIFlask

from billtrack.platform.extensions import db
from billtrack.usage.records.models import UsageDaily, UsageKey, UsageRecord
from tests.cast import Cast
from tests.usage.racing import in_threads

BATCH = "/api/v1/usage/batch"


def usage(cast: Cast, **changes: Any) -> dict[str, Any]:
    return {"quantity": 5, "event": "api_calls", "user_id": cast.customer.id, **changes}


def count(model: type) -> int:
    db.session.rollback()
    return db.session.query(model).count()


def test_it_answers_for_each_record_in_order(cast: Cast) -> None:
    records = [
        usage(cast, idempotency_key="a"),
        usage(cast, quantity="5"),
        usage(cast, event="tea"),
        usage(cast, idempotency_key="a"),
        usage(cast, idempotency_key="a", quantity=6),
        usage(cast, occurred_at=datetime.now(UTC).isoformat()),
        "usage",
        usage(cast, surprise=1),
        usage(cast, user_id=10**6),
    ]
    answer = cast.provider.post(BATCH, {"records": records})
    assert answer.status_code == 200
    body = answer.get_json()
    counts = {name: body[name] for name in ("accepted", "duplicate", "conflict", "rejected")}
    assert counts == {"accepted": 2, "duplicate": 1, "conflict": 1, "rejected": 5}
    told = [(one["index"], one["status"], one["code"]) for one in body["results"]]
    assert told == [
        (0, "accepted", None),
        (1, "rejected", "invalid"),
        (2, "rejected", "unknown_event"),
        (3, "duplicate", None),
        (4, "conflict", "idempotency_conflict"),
        (5, "accepted", None),
        (6, "rejected", "invalid"),
        (7, "rejected", "invalid"),
        (8, "rejected", "unknown_user"),
    ]
    ids = [one["id"] for one in body["results"]]
    assert ids[0] == ids[3]
    assert ids[5] not in {None, ids[0]}
    assert [ids[place] for place in (1, 2, 4, 6, 7, 8)] == [None] * 6
    assert body["results"][1]["detail"] == "quantity: Input should be a valid integer"
    stored = cast.provider.get(f"/api/v1/usage/{ids[0]}").get_json()
    assert (stored["quantity"], stored["idempotency_key"]) == (5, "a")
    assert (count(UsageRecord), count(UsageKey)) == (2, 1)


def test_repeating_a_batch_stores_nothing_more(cast: Cast) -> None:
    batch = {"records": [usage(cast, idempotency_key=f"k-{n}") for n in range(1000)]}
    first = cast.provider.post(BATCH, batch).get_json()
    again = cast.provider.post(BATCH, batch).get_json()
    assert (first["accepted"], again["accepted"], again["duplicate"]) == (1000, 0, 1000)
    assert [one["id"] for one in again["results"]] == [one["id"] for one in first["results"]]
    (day,) = db.session.query(UsageDaily)
    assert (day.quantity, day.count) == (5000, 1000)


def test_it_stores_all_or_nothing_when_asked(cast: Cast) -> None:
    good = [usage(cast, idempotency_key=f"k-{n}") for n in range(3)]
    for bad, field in (
        (usage(cast, event="tea"), "records.3.event"),
        (usage(cast, quantity=0), "records.3.quantity"),
        (usage(cast, idempotency_key="k-0", quantity=9), "records.3"),
    ):
        refused = cast.provider.post(f"{BATCH}?on_error=reject", {"records": [*good, bad]})
        assert refused.status_code == 422
        problem = refused.get_json()
        assert problem["code"] == "batch_refused"
        assert problem["detail"] == "1 of 4 records are refused, so none is stored."
        assert [one["field"] for one in problem["errors"]] == [field]
        assert (count(UsageRecord), count(UsageKey), count(UsageDaily)) == (0, 0, 0)
    stored = cast.provider.post(f"{BATCH}?on_error=reject", {"records": good})
    assert (stored.status_code, stored.get_json()["accepted"]) == (200, 3)


def test_a_refused_record_uses_up_no_key(cast: Cast) -> None:
    wrong = usage(cast, idempotency_key="k", event="tea")
    right = usage(cast, idempotency_key="k")
    body = cast.provider.post(BATCH, {"records": [wrong, right]}).get_json()
    assert [one["status"] for one in body["results"]] == ["rejected", "accepted"]


def test_it_leaves_out_what_was_accepted_when_asked(cast: Cast) -> None:
    records = [usage(cast), usage(cast, event="tea"), usage(cast)]
    body = cast.provider.post(f"{BATCH}?results=problems", {"records": records}).get_json()
    assert (body["accepted"], [one["index"] for one in body["results"]]) == (2, [1])


@pytest.mark.parametrize("records", [[], None, {}, "usage", [1] * 10_001])
def test_it_refuses_what_is_no_batch(cast: Cast, records: Any) -> None:
    refused = cast.provider.post(BATCH, {"records": records})
    assert refused.status_code == 422
    assert refused.get_json()["errors"][0]["field"] == "records"


def test_it_refuses_a_key_for_the_whole(cast: Cast) -> None:
    body = {"records": [usage(cast)]}
    refused = cast.provider.post(BATCH, body, headers={"Idempotency-Key": "k"})
    assert refused.status_code == 422
    assert refused.get_json()["errors"][0]["field"] == "Idempotency-Key"
    assert count(UsageRecord) == 0


@pytest.mark.by_chance
def test_overlapping_batches_at_once_count_each_key_once(app: APIFlask, cast: Cast) -> None:
    post, make = cast.provider.post, [usage(cast, idempotency_key=f"k-{n}") for n in range(120)]

    def send(start: int) -> int:
        return int(post(BATCH, {"records": make[start : start + 60]}).get_json()["accepted"])

    accepted = in_threads(app, [lambda n=n: send(20 * n) for n in range(4)])  # type: ignore[misc]
    assert sum(accepted) == count(UsageRecord) == count(UsageKey) == 120
    (day,) = db.session.query(UsageDaily)
    assert (day.quantity, day.count) == (600, 120)
