"""/rejected-records: whatever way usage comes, what is refused is kept, and can be sent again."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask

from billtrack.api.v1.cloud_events import MEDIA_TYPE, SAMPLE_EVENT
from billtrack.usage.sources.writing import write_noted
from tests.cast import Cast, Member

PATH = "/api/v1/rejected-records"


def test_each_way_in_keeps_what_it_refuses(cast: Cast) -> None:
    record = {"quantity": 1, "event": "api_calls", "user_id": cast.customer.id}
    post = cast.provider.post
    unknown, shapeless = {**record, "event": "unheard_of"}, {**record, "quantity": "1"}
    packed = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    sent = [
        post("/api/v1/usage/", unknown),
        post("/api/v1/usage/", {**unknown, "quantity": 2}),  # the key is known now: the short way
        post("/api/v1/usage/", unknown, headers={"Idempotency-Key": "a"}),
        post("/api/v1/usage/", shapeless, headers={"Idempotency-Key": "b"}),
        post("/api/v1/usage/", data=gzip.compress(json.dumps(shapeless).encode()), headers=packed),
        post("/api/v1/usage/batch", {"records": [record, unknown, shapeless, 5]}),
        post(
            "/api/v1/usage/batch",
            data=json.dumps([{**SAMPLE_EVENT, "subject": "x"}]),
            headers={"Content-Type": MEDIA_TYPE},
        ),
    ]
    assert [answer.status_code for answer in sent] == [422, 422, 422, 422, 422, 200, 200]
    assert [(one["code"], one["item"]) for one in reversed(rejected(cast.manager))] == [
        ("unknown_event", unknown),
        ("unknown_event", {**unknown, "quantity": 2}),
        ("unknown_event", {**unknown, "idempotency_key": "a"}),
        ("invalid", {**shapeless, "idempotency_key": "b"}),
        ("invalid", shapeless),
        ("unknown_event", unknown),
        ("invalid", shapeless),
        ("invalid", 5),
        (
            "invalid",
            {
                "user_id": "x",
                "event": "api_calls",
                "quantity": 500000,
                "occurred_at": "2026-10-05T14:59:59Z",
                "idempotency_key": "2026-10-05T14",
                "metadata": {"region": "eu-west"},
            },
        ),
    ]
    source = cast.manager.get(f"/api/v1/sources/{cast.provider.id}").get_json()
    assert source["last_24_hours"]["rejected"] == 9


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_it_keeps_nothing_of_what_is_no_item_or_comes_again_as_a_whole(cast: Cast) -> None:
    record = {"quantity": 1, "event": "unheard_of", "user_id": cast.customer.id}
    post = cast.provider.post
    assert post("/api/v1/usage/", data="{", content_type="application/json").status_code == 400
    assert post("/api/v1/usage/", data="[]", content_type="application/json").status_code == 422
    assert post("/api/v1/usage/batch", {"records": []}).status_code == 422
    assert post("/api/v1/usage/batch?on_error=reject", {"records": [record]}).status_code == 422
    assert cast.customer.post("/api/v1/usage/", record).status_code == 403
    assert rejected(cast.manager) == []


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_it_lists_by_source_code_status_and_day(cast: Cast) -> None:
    for member, event in (
        (cast.provider, "unheard_of"),
        (cast.other_provider, "unheard_of"),
        (cast.provider, "NO"),
    ):
        member.post("/api/v1/usage/", {"quantity": 1, "event": event, "user_id": cast.customer.id})
    write_noted()
    today = datetime.now(UTC).date()
    day_before = today - timedelta(days=1)
    for query, ids in (
        ("", [3, 2, 1]),
        (f"source_id={cast.provider.id}", [3, 1]),
        ("code=unknown_event", [2, 1]),
        ("status=replayed", []),
        ("status=open&limit=200", [3, 2, 1]),
        (f"from={day_before}&to={day_before}", []),
        (f"from={day_before}&to={today}", [3, 2, 1]),
    ):
        assert [one["id"] for one in rejected(cast.manager, query)] == ids, query
    first = cast.manager.get(f"{PATH}?limit=2").get_json()
    assert [one["id"] for one in first["data"]] == [3, 2]
    assert [one["id"] for one in rejected(cast.manager, f"cursor={first['next_cursor']}")] == [1]
    assert [one["id"] for one in rejected(cast.provider)] == [3, 1]
    assert cast.provider.get(f"{PATH}/2").get_json()["code"] == "rejected_record_not_found"
    assert cast.manager.get(f"{PATH}/2").get_json()["errors"][0]["field"] == "event"
    assert cast.customer.get(PATH).status_code == 403


def test_it_sends_one_again_with_what_is_changed(app: APIFlask, cast: Cast) -> None:
    record = {"quantity": 5, "event": "unheard_of", "user_id": cast.customer.id}
    cast.provider.post("/api/v1/usage/", {**record, "idempotency_key": "k", "metadata": {"a": 1}})
    write_noted()
    address = f"{PATH}/1/replay"
    refused = cast.provider.post(address, {"event": "still_not"})
    assert (refused.status_code, refused.get_json()["code"]) == (422, "unknown_event")
    assert cast.provider.post(address, {}).status_code == 422
    assert cast.other_provider.post(address, {"event": "api_calls"}).status_code == 404
    answer = cast.manager.post(address, {"event": "api_calls"})
    made = answer.get_json()
    assert (answer.status_code, made["source"]) == (201, str(cast.provider.id))
    assert (made["quantity"], made["idempotency_key"], made["metadata"]) == (5, "k", {"a": 1})
    again = cast.provider.post(address, {"event": "vm_uptime"})
    assert (again.status_code, again.get_json()) == (200, made)
    (one,) = rejected(cast.manager, "status=replayed")
    assert one["record_id"] == made["id"]


def rejected(member: Member, query: str = "") -> list[dict[str, Any]]:
    write_noted()
    found: list[dict[str, Any]] = member.get(f"{PATH}?{query}").get_json()["data"]
    return found
