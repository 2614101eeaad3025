"""Whatever comes in a batch: a clear answer for each, the valid records in, nothing lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from billtrack.platform.extensions import db
from billtrack.usage.records.models import UsageDaily, UsageRecord
from tests.cast import Cast

BATCH = "/api/v1/usage/batch"
DEEP = "[" * 100 + "]" * 100
TOO_DEEP = "[" * 5000 + "]" * 5000

# what stands where a record should → the start of the answer's detail
JUNK: list[tuple[str, str]] = [
    ("null", "body"),
    ("true", "body"),
    ("7", "body"),
    ('"usage"', "body"),
    ("[]", "body"),
    ("{}", "quantity: Field required"),
    (DEEP, "body"),
    ('{"quantity": ' + DEEP + "}", "quantity"),
    ('{"quantity": 5, "event": "api_calls", "user_id": ID, "metadata": ' + DEEP + "}", "metadata"),
    ('{"quantity": 5, "event": "api_calls", "user_id": ID, "metadata": {"a": {}}}', "metadata.a"),
    ('{"quantity": 5, "event": "api_calls", "user_id": ID, "records": []}', "records"),
    ('{"quantity": 5, "event": {"$ne": ""}, "user_id": ID}', "event"),
    ('{"quantity": 9223372036854775808, "event": "api_calls", "user_id": ID}', "quantity"),
    ('{"quantity": -9223372036854775809, "event": "api_calls", "user_id": ID}', "quantity"),
    ('{"quantity": 1' + "0" * 300 + ', "event": "api_calls", "user_id": ID}', "quantity"),
    ('{"quantity": 5, "event": "api_calls", "user_id": 18446744073709551617}', "user_id"),
    ('{"quantity": NaN, "event": "api_calls", "user_id": ID}', "quantity"),
    ('{"quantity": Infinity, "event": "api_calls", "user_id": ID}', "quantity"),
    ('{"quantity": 5, "event": "api_calls", "user_id": NaN}', "user_id"),
    ('{"quantity": 5, "event": "api_calls", "user_id": ID, "metadata": {"a": NaN}}', "metadata.a"),
    ('{"quantity": 5e0, "event": "api_calls", "user_id": ID}', "quantity"),
    ('{"quantity": "5", "event": "api_calls", "user_id": ID}', "quantity"),
    ('{"quantity": 5, "event": "api_calls\\u0000", "user_id": ID}', "event"),
    ('{"quantity": 5, "event": "api_calls", "user_id": ID, "idempotency_key": "\\u0000"}', "idemp"),
    ('{"quantity": 5, "event": "api_calls", "user_id": ID, "occurred_at": "now"}', "occurred_at"),
]


def send(cast: Cast, body: str | bytes, **headers: str) -> TestResponse:
    sent = {"Content-Type": "application/json", **headers}
    return cast.provider.post(BATCH, data=body, headers=sent)


def good(cast: Cast, key: str) -> str:
    record = {"user_id": cast.customer.id, "event": "api_calls", "quantity": 5}
    return json.dumps({**record, "idempotency_key": key})


def stored() -> tuple[int, int]:
    """Return how many records there are, and how many the rollups count."""
    db.session.rollback()
    records = db.session.scalar(select(func.count()).select_from(UsageRecord)) or 0
    return records, db.session.scalar(select(func.sum(UsageDaily.count))) or 0


def test_junk_among_valid_records_is_refused_alone(cast: Cast) -> None:
    mixed: list[str] = []
    for number, (junk, _) in enumerate(JUNK):
        mixed += [good(cast, f"k-{number}"), junk.replace("ID", str(cast.customer.id))]
    answer = send(cast, f'{{"records": [{", ".join(mixed)}]}}')
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.get_json()
    assert (body["accepted"], body["rejected"]) == (len(JUNK), len(JUNK))
    assert [one["index"] for one in body["results"]] == list(range(2 * len(JUNK)))
    refused = body["results"][1::2]
    unclear = [
        (one, junk[:80])
        for one, (junk, detail) in zip(refused, JUNK, strict=True)
        if (one["status"], one["code"], one["id"]) != ("rejected", "invalid", None)
        or not one["detail"].startswith(detail)
    ]
    assert unclear == []
    assert stored() == (len(JUNK), len(JUNK))


def test_a_refused_record_can_be_sent_again_under_its_key(cast: Cast) -> None:
    bad = good(cast, "k").replace('"quantity": 5', '"quantity": 9223372036854775808')
    assert send(cast, f'{{"records": [{bad}]}}').get_json()["rejected"] == 1
    assert send(cast, f'{{"records": [{good(cast, "k")}]}}').get_json()["accepted"] == 1


def test_of_a_field_that_comes_twice_the_last_counts(cast: Cast) -> None:
    twice = good(cast, "k").replace('"quantity": 5', '"quantity": 7, "quantity": 5')
    body = send(cast, f'{{"records": [{twice}, {good(cast, "k")}]}}').get_json()
    assert (body["accepted"], body["duplicate"]) == (1, 1)
    record = cast.provider.get(f"/api/v1/usage/{body['results'][0]['id']}").get_json()
    assert record["quantity"] == 5
    first = f'{{"records": [{good(cast, "a")}], "records": [{good(cast, "b")}]}}'
    assert send(cast, first).get_json()["accepted"] == 1
    assert cast.provider.get("/api/v1/usage?limit=1").get_json()["data"][0]["idempotency_key"] == (
        "b"
    )


@pytest.mark.parametrize(
    ("break_it", "status"),
    [
        (lambda body: body[:-1], 400),
        (lambda body: body + b"]", 400),
        (lambda body: body.replace(b"k-1", b"k-\xff"), 400),
        (lambda body: body.replace(b"k-1", b"\xed\xa0\x80"), 400),
        (lambda body: body.replace(b'"k-1"', b'"\\ud800"'), 400),
        (lambda body: body.replace(b'"k-1"', TOO_DEEP.encode()), 400),
        (lambda body: b"\xef\xbb\xbf" + body, 400),
        (lambda body: body.decode().encode("utf-16"), 400),
        (lambda body: body[11:-1], 422),
        (lambda body: body.replace(b'"records"', b'"events"'), 422),
        (lambda body: b"", 422),
    ],
)
def test_what_cannot_be_read_is_refused_as_a_whole(cast: Cast, break_it: Any, status: int) -> None:
    whole = f'{{"records": [{good(cast, "k-0")}, {good(cast, "k-1")}]}}'.encode()
    refused = send(cast, break_it(whole))
    assert refused.status_code == status, refused.text
    assert refused.mimetype == "application/problem+json"
    assert refused.get_json()["detail"]
    assert stored() == (0, 0)
    assert send(cast, whole).get_json()["accepted"] == 2


@pytest.mark.parametrize("kind", ["text/csv", "application/x-ndjson", "application/x-gzip", ""])
def test_it_says_which_content_type_it_takes(cast: Cast, kind: str) -> None:
    refused = send(cast, f'{{"records": [{good(cast, "k")}]}}', **{"Content-Type": kind})
    assert (refused.status_code, refused.get_json()["code"]) == (415, "unsupported_media_type")
    assert "application/json" in refused.get_json()["detail"]
    assert stored() == (0, 0)


def test_a_full_batch_is_taken_and_one_more_is_refused(cast: Cast) -> None:
    records = [good(cast, f"k-{n}") for n in range(10_001)]
    too_many = send(cast, f'{{"records": [{", ".join(records)}]}}')
    assert too_many.status_code == 422
    assert too_many.get_json()["errors"][0]["field"] == "records"
    assert stored() == (0, 0)
    full = send(cast, f'{{"records": [{", ".join(records[:10_000])}]}}').get_json()
    assert (full["accepted"], len(full["results"])) == (10_000, 10_000)
    assert stored() == (10_000, 10_000)
