"""Bad values, and what every refusal must look like."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, select, union_all
from werkzeug.test import TestResponse

from billtrack.platform.extensions import db, metadata
from tests.cast import Member

NOT_TEXT: list[Any] = [1, 1.5, True, [], {}]
NOT_PLAIN = ["", "a\x00b", "a\nb", "\x7f", "\u202e"]
NOT_INTEGER: list[Any] = ["5", "", 1.0, 1.5, True, None, [], {}]
NOT_ID = [*NOT_INTEGER, 0, -1, 10**18, 2**63, 10**30, 10**400]
NOT_DATE: list[Any] = [
    20261001,
    "",
    "2026-02-30",
    "2026-13-01",
    "2026-1-1",
    "20261001",
    "0001-01-01",
    "9999-12-31",
    "2026-10-01T00:00:00Z",
    "yesterday",
    "２０２６-10-01",
]
NOT_MONTH: list[Any] = [
    202610,
    "",
    "2026-13",
    "2026-00",
    "2026-1",
    "1999-12",
    "3000-01",
    "2026-10-01",
    "٢٠٢٦-10",
]
NOT_INSTANT: list[Any] = [
    1760000000,
    "",
    "2026-02-30T10:00:00Z",
    "2026-10-01T10:00:00",
    "2026-10-01",
    "2026-10-01 10:00:00Z",
    "2026-10-01T25:00:00Z",
    "2026-10-01T10:00:00+99:99",
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59Z",
    "9999-12-31T23:59:59-12:00",
    "now",
]

UNREADABLE: dict[str, tuple[bytes, int]] = {
    "broken": (b'{"a": ', 400),
    "no JSON": (b"hello", 400),
    "two values": (b"{} {}", 400),
    "single quotes": (b"{'a': 1}", 400),
    "invalid UTF-8": (b'{"a": "\xff\xfe"}', 400),
    "lone surrogate": (b'{"a": "\\ud800"}', 400),
    "lone surrogate as a name": (b'{"\\udfff": 1}', 400),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), 400),
    "deep lists": (b'{"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", 400),
    "deep objects": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, 400),
    "unclosed depths": (b"[" * 10_000, 400),
    "null": (b"null", 422),
    "a list": (b"[]", 422),
    "a text": (b'"x"', 422),
    "a number": (b"7", 422),
    "not a number": (b"NaN", 422),
}

ID_TEXTS = ["0", "-1", str(10**30), "abc", "1.5", "1e3", "01", "+1", "%D9%A1", "%00", "1%0A"]
FIELD = re.compile(r"[A-Za-z][^\[\]()]*")


def changed(body: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {**body, **fields}


def without(body: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in body.items() if name != field}


def row_counts() -> dict[str, int]:
    """Return how many rows every table has."""
    db.session.rollback()
    counts = [
        select(db.literal(table.name), func.count()).select_from(table)
        for table in metadata.sorted_tables
    ]
    return dict(db.session.execute(union_all(*counts)).all())


class Refusals:
    """Sends what must be refused, and keeps what was not refused as it must be."""

    def __init__(self, member: Member) -> None:
        self._member = member
        self.wrong: list[str] = []

    def send(
        self, method: str, path: str, status: int, *, field: str | None = None, **options: Any
    ) -> None:
        """Send a request that must be answered with the status, naming the field if given."""
        body = json.dumps(options["json"]) if "json" in options else options.get("data", "")
        client = self._member._client()
        headers = self._member.headers(options)
        answer = client.open(path, method=method, headers=headers, **options)
        label = f"{method} {path[:80]} {str(body)[:120]}"
        self.wrong += [f"{label}: {what}" for what in _faults(answer, status, field)]


def _faults(answer: TestResponse, status: int, field: str | None) -> Iterator[str]:
    if answer.status_code != status:
        yield f"{answer.status_code} for {status}: {answer.get_data(as_text=True)[:300]}"
        return
    if answer.mimetype != "application/problem+json":
        yield f"is {answer.mimetype}"
        return
    problem = answer.get_json()
    if not re.fullmatch(r"[a-z][a-z_]+", problem["code"]) or problem["status"] != status:
        yield f"code {problem['code']}, status {problem['status']}"
    if problem["request_id"] != answer.headers["X-Request-Id"] or not problem["detail"]:
        yield "has no request id or detail"
    named = [error["field"] for error in problem["errors"]]
    if field is not None and not any(
        name == field or name.startswith(f"{field}.") for name in named
    ):
        yield f"names {named} for {field}"
    if any(not FIELD.fullmatch(name) for name in named):
        yield f"names {named}"
