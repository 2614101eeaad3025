"""Bodies packed with gzip: read like any other, and never unpacked beyond the limit."""

from __future__ import annotations

import gzip
import json
import shutil
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from billtrack.platform.config import Settings
from billtrack.platform.extensions import db
from billtrack.platform.request_head import MAX_BODY
from billtrack.usage.records.models import UsageRecord
from tests.cast import Cast
from tests.conftest import make_settings

BATCH = "/api/v1/usage/batch"
BIT_IN_THE_DATA = 40


@pytest.fixture
def settings(sqlite_template: Path, tmp_path: Path) -> Settings:
    """On one database: whatever it is, it sees a body only after it was unpacked."""
    shutil.copy(sqlite_template, tmp_path / "billtrack.db")
    return make_settings(tmp_path)


def send(
    cast: Cast, body: bytes, *, path: str = BATCH, encoding: str = "gzip", **headers: str
) -> TestResponse:
    sent = {"Content-Encoding": encoding, "Content-Type": "application/json", **headers}
    return cast.provider.post(path, data=body, headers=sent)


def batch(cast: Cast, count: int) -> bytes:
    records = [
        {
            "user_id": cast.customer.id,
            "event": "api_calls",
            "quantity": 5,
            "idempotency_key": str(n),
        }
        for n in range(count)
    ]
    return json.dumps({"records": records}).encode()


def bomb(size: int) -> bytes:
    """Return about a thousandth of `size` bytes, which unpack to that many spaces."""
    packer = zlib.compressobj(9, wbits=31)
    block = b" " * (1024 * 1024)
    return b"".join(packer.compress(block) for _ in range(size // len(block))) + packer.flush()


def record_count() -> int:
    db.session.rollback()
    return db.session.query(UsageRecord).count()


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", " gzip ", "x-gzip"])
def test_it_reads_a_packed_batch(cast: Cast, encoding: str) -> None:
    answer = send(cast, gzip.compress(batch(cast, 3)), encoding=encoding)
    assert (answer.status_code, answer.get_json()["accepted"]) == (200, 3)


def test_it_reads_a_packed_record_and_any_other_body(cast: Cast) -> None:
    record = {"user_id": cast.customer.id, "event": "api_calls", "quantity": 5}
    packed = gzip.compress(json.dumps(record).encode())
    assert send(cast, packed, path="/api/v1/usage/").status_code == 201
    reason = gzip.compress(b'{"reason": "sent twice"}')
    assert send(cast, reason, path="/api/v1/usage/1/reverse").status_code == 201


def test_it_reads_what_is_said_to_be_plain(cast: Cast) -> None:
    for encoding in ("identity", ""):
        assert send(cast, batch(cast, 1), encoding=encoding).status_code == 200


def test_files_that_follow_each_other_are_one_body(cast: Cast) -> None:
    body = batch(cast, 20)
    parts = [body[start : start + 50] for start in range(0, len(body), 50)]
    answer = send(cast, b"".join(map(gzip.compress, parts)))
    assert (len(parts) > 10, answer.status_code, answer.get_json()["accepted"]) == (True, 200, 20)


def test_it_reads_what_is_as_large_as_a_body_may_be(cast: Cast) -> None:
    body = batch(cast, 2)
    fitting = gzip.compress(body + b" " * (MAX_BODY - len(body)))
    assert send(cast, fitting).status_code == 200
    too_large = send(cast, gzip.compress(body + b" " * (MAX_BODY - len(body) + 1)))
    assert (too_large.status_code, too_large.get_json()["code"]) == (413, "body_too_large")
    assert record_count() == 2


def test_it_does_not_unpack_a_bomb(cast: Cast) -> None:
    packed = bomb(256 * 1024 * 1024)
    in_parts = gzip.compress(b" " * (1024 * 1024)) * 50
    for body in (packed, in_parts):
        assert len(body) < MAX_BODY // 8
        tracemalloc.start()
        refused = send(cast, body)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert (refused.status_code, refused.get_json()["code"]) == (413, "body_too_large")
        assert peak < 5 * MAX_BODY


def damaged(cast: Cast) -> dict[str, bytes]:
    whole = gzip.compress(batch(cast, 50))
    turned = bytearray(whole)
    turned[BIT_IN_THE_DATA] ^= 0xFF
    return {
        "no gzip": batch(cast, 1),
        "zlib without a gzip header": zlib.compress(batch(cast, 1)),
        "the first half": whole[: len(whole) // 2],
        "without its checksum": whole[:-8],
        "a wrong checksum": whole[:-8] + b"\0" * 4 + whole[-4:],
        "a wrong length": whole[:-4] + b"\0" * 4,
        "a byte that was turned": bytes(turned),
        "text after the end": whole + b"and more",
        "zeros after the end": whole + b"\0" * 512,
        "half a file after the end": whole + whole[:20],
        "its first byte": whole[:1],
        "thousands of empty files": gzip.compress(b"") * 100_000,
    }


def test_it_refuses_what_is_damaged_and_stores_nothing(cast: Cast) -> None:
    wrong = []
    for what, body in damaged(cast).items():
        answer = send(cast, body)
        problem: dict[str, Any] = answer.get_json()
        if (answer.status_code, problem["code"]) != (400, "unparsable"):
            wrong.append(f"{what}: {answer.status_code} {problem}")
    assert wrong == []
    assert record_count() == 0


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip", "gzip, br", "*"])
def test_it_names_the_encoding_that_it_reads(cast: Cast, encoding: str) -> None:
    refused = send(cast, gzip.compress(batch(cast, 1)), encoding=encoding)
    assert refused.status_code == 415
    assert refused.headers["Accept-Encoding"] == "gzip"
    assert refused.get_json()["code"] == "unsupported_media_type"


def test_it_asks_who_sends_before_it_unpacks(cast: Cast) -> None:
    packed = bomb(64 * 1024 * 1024)
    nobody = send(cast, packed, Authorization="Bearer bt_live_nobody")
    assert nobody.status_code == 401
    headers = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    assert cast.customer.post(BATCH, data=packed, headers=headers).status_code == 403
