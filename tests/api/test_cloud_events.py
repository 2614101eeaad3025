"""POST /api/v1/usage/batch with CloudEvents: the same records in another spelling."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from werkzeug.test import TestResponse

from billtrack.api.v1.cloud_events import MEDIA_TYPE
from billtrack.api.v1.openapi import document
from tests.answers import assert_as_documented, faults
from tests.api.refusals import row_counts
from tests.cast import Cast

BATCH = "/api/v1/usage/batch"


def event(cast: Cast, **changes: Any) -> dict[str, Any]:
    made = {
        "specversion": "1.0",
        "id": "1",
        "source": "/gateway",
        "type": "com.example.api_calls",
        "subject": str(cast.customer.id),
        "data": {"quantity": 5},
        **changes,
    }
    return {name: value for name, value in made.items() if value != "left out"}


def send(cast: Cast, body: Any, *, query: str = "", **headers: str) -> TestResponse:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return cast.provider.post(BATCH + query, data=data, content_type=MEDIA_TYPE, headers=headers)


def stored(cast: Cast, record_id: int) -> dict[str, Any]:
    record: dict[str, Any] = cast.provider.get(f"/api/v1/usage/{record_id}").get_json()
    return record


def test_it_records_what_an_event_says(cast: Cast) -> None:
    then = datetime.now(UTC).replace(microsecond=123456) - timedelta(hours=1)
    sent = event(
        cast,
        id="a-1",
        time=then.strftime("%Y-%m-%dT%H:%M:%S.%f") + "789Z",  # nanoseconds, as some clocks tell
        datacontenttype="application/json; charset=utf-8",
        dataschema="https://example.com/usage",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        sampledrate=3,
        data={"quantity": 5, "region": "eu", "spot": True},
    )
    answer = send(cast, [sent, event(cast, id="a-2", type="vm_uptime", time=None)])
    assert (answer.status_code, answer.get_json()["accepted"]) == (200, 2)
    first, second = (stored(cast, one["id"]) for one in answer.get_json()["results"])
    told = {name: first[name] for name in ("user_id", "event", "quantity", "idempotency_key")}
    assert told == {
        "user_id": cast.customer.id,
        "event": "api_calls",
        "quantity": 5,
        "idempotency_key": "a-1",
    }
    assert first["source"] == f"{cast.provider.id}//gateway"
    assert datetime.fromisoformat(first["occurred_at"]) == then
    assert first["metadata"] == {"region": "eu", "spot": True}
    assert (second["event"], second["metadata"]) == ("vm_uptime", None)


def test_the_same_event_counts_once_and_another_source_is_another_record(cast: Cast) -> None:
    sent = [event(cast), event(cast, source="/other"), event(cast)]
    plain = {"user_id": cast.customer.id, "event": "api_calls", "quantity": 5}
    first = send(cast, sent).get_json()
    again = send(cast, sent).get_json()
    named = cast.provider.post("/api/v1/usage/", {**plain, "idempotency_key": "1"})
    changed = send(cast, [event(cast, data={"quantity": 6})]).get_json()
    assert [one["status"] for one in first["results"]] == ["accepted", "accepted", "duplicate"]
    assert [one["id"] for one in again["results"]] == [one["id"] for one in first["results"]]
    assert (again["accepted"], again["duplicate"]) == (0, 3)
    assert named.status_code == 201
    assert changed["results"][0]["code"] == "idempotency_conflict"


def test_it_answers_for_each_event(cast: Cast) -> None:
    wrong: list[tuple[Any, str, str]] = [
        (event(cast, specversion="0.3"), "invalid", "specversion"),
        (event(cast, specversion="left out"), "invalid", "specversion"),
        (event(cast, id=""), "invalid", "id"),
        (event(cast, id=1), "invalid", "id"),
        (event(cast, id="k" * 256), "invalid", "id"),
        (event(cast, source="left out"), "invalid", "source"),
        (event(cast, source=""), "invalid", "source"),
        (event(cast, source="s" * 256), "invalid", "source"),
        (event(cast, source="a\nb"), "invalid", "source"),
        (event(cast, type="com.example."), "invalid", "type"),
        (event(cast, type="com..api_calls"), "invalid", "type"),
        (event(cast, type="com.example.tea"), "unknown_event", "tea"),
        (event(cast, subject=cast.customer.id), "invalid", "subject"),
        (event(cast, subject="left out"), "invalid", "subject"),
        (event(cast, subject="0"), "invalid", "subject"),
        (event(cast, subject="1" * 30), "invalid", "subject"),
        (event(cast, subject=cast.customer.user.email), "invalid", "subject"),
        (event(cast, subject=str(10**17)), "unknown_user", "user"),
        (event(cast, time="2026-10-05T10:00:00"), "invalid", "time"),
        (event(cast, time="2999-01-01T00:00:00Z"), "occurred_at_out_of_range", "future"),
        (event(cast, datacontenttype="text/xml"), "invalid", "datacontenttype"),
        (event(cast, data="left out"), "invalid", "data"),
        (event(cast, data=None), "invalid", "data"),
        (event(cast, data=5), "invalid", "data"),
        (event(cast, data={}), "invalid", "data.quantity"),
        (event(cast, data={"quantity": "5"}), "invalid", "data.quantity"),
        (event(cast, data={"quantity": 5.0}), "invalid", "data.quantity"),
        (event(cast, data={"quantity": 0}), "invalid", "data.quantity"),
        (event(cast, data={"quantity": 5, "deep": {"a": 1}}), "invalid", "data.deep"),
        (event(cast, data={"quantity": 5, "long": "x" * 2100}), "invalid", "data"),
        (event(cast, data_base64="NQ=="), "invalid", "data_base64"),
        (event(cast, idempotency_key="k"), "invalid", "idempotency_key"),
        ("event", "invalid", ""),
        (None, "invalid", ""),
    ]
    good = [event(cast, id="first"), event(cast, id="last")]
    before = row_counts()["usage_records"]
    body = send(cast, [good[0], *(sent for sent, _, _ in wrong), good[1]]).get_json()
    statuses = [one["status"] for one in body["results"]]
    assert statuses == ["accepted", *["rejected"] * len(wrong), "accepted"]
    unclear = [
        (one, code, named)
        for one, (_, code, named) in zip(body["results"][1:-1], wrong, strict=True)
        if one["code"] != code or named not in one["detail"]
    ]
    assert unclear == []
    assert row_counts()["usage_records"] == before + 2


def test_all_or_nothing_names_the_place_in_the_events(cast: Cast) -> None:
    sent = [event(cast), event(cast, id="2", type="tea"), event(cast, id="3", subject="x")]
    for bad, place in ((sent[:2], "1.type"), ([sent[0], sent[2]], "1.subject")):
        refused = send(cast, bad, query="?on_error=reject")
        assert (refused.status_code, refused.get_json()["code"]) == (422, "batch_refused")
        assert [one["field"] for one in refused.get_json()["errors"]] == [place]
    assert row_counts()["usage_records"] == 0


@pytest.mark.parametrize("body", [[], {}, {"records": []}, event, None, [None] * 10_001])
def test_it_refuses_what_is_no_batch(cast: Cast, body: Any) -> None:
    refused = send(cast, body(cast) if callable(body) else body)
    assert refused.status_code == 422
    assert [one["field"] for one in refused.get_json()["errors"]] == ["body"]


def test_it_reads_packed_events(cast: Cast) -> None:
    packed = gzip.compress(json.dumps([event(cast)]).encode())
    assert send(cast, packed, **{"Content-Encoding": "gzip"}).get_json()["accepted"] == 1


def test_the_document_shows_how_to_send_events(app: APIFlask, cast: Cast) -> None:
    spec = document()
    operation = spec["paths"][BATCH]["post"]
    content = operation["requestBody"]["content"]
    schema = spec["components"]["schemas"]["CloudEvents"]
    assert content[MEDIA_TYPE]["schema"] == {"$ref": "#/components/schemas/CloudEvents"}
    assert faults(schema["examples"][0], schema, spec) == []
    assert faults([event(cast)], schema, spec) == []
    assert faults([], schema, spec) != []
    example = [{**schema["examples"][0][0], "subject": str(cast.customer.id)}]
    del example[0]["time"]  # which would grow too old
    answer = send(cast, example)
    assert answer.get_json()["accepted"] == 1
    assert_as_documented(
        spec, method="post", path=BATCH, status=200, mimetype=answer.mimetype, body=answer.json
    )
