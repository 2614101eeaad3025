"""The schema of a record; and what is read of a batch at once is what it says of each record."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from billtrack.core.errors import InvalidError
from billtrack.usage.ingest import schema
from billtrack.usage.ingest.schema import MAX_RECORDS, read_batch
from billtrack.usage.records.submissions import UsageInput

GOOD = {"user_id": 1, "event": "api_calls", "quantity": 5}

instants = st.sampled_from(
    [
        *("2026-10-05T14:30:00Z", "2026-10-05t14:30:00.123456789+05:30", "2026-W41-1T14:30:00Z"),
        *(
            "2026-10-05T14:30:00",
            "2026-10-05 14:30:00Z",
            "20261005T143000Z",
            "1999-12-31T00:00:00Z",
        ),
        *("2026-02-30T14:30:00Z", "2026-10-05T14:30:00Z\n", "2999-12-31T23:59:59-10:00", "", "now"),
    ]
)
texts = st.text(max_size=5) | st.sampled_from(["k" * 255, "k" * 256, "a\u0000", "a\u2028", "𝔘"])
numbers = st.sampled_from([0, 1, -1, 10**15, 10**15 + 1, 10**18, 2**64, 5.0, True, "5"])
anything = st.none() | texts | numbers | st.just([]) | st.just({})
records = st.fixed_dictionaries(
    {},
    optional={
        "user_id": st.just(1) | anything,
        "event": st.just("api_calls") | anything,
        "quantity": st.just(5) | anything,
        "idempotency_key": anything,
        "occurred_at": instants | anything,
        "metadata": st.dictionaries(texts, anything | st.text(min_size=2000), max_size=2)
        | anything,
        "other": anything,
    },
)


def read_each(items: list[Any]) -> list[UsageInput] | None:
    """Return what each says by itself; None where any of it is refused."""
    try:
        return [schema.read(item) for item in items] or None
    except InvalidError:
        return None


@given(st.lists(records | records.map(lambda some: GOOD | some) | anything, max_size=3))
@example([GOOD, GOOD | {"idempotency_key": "k", "occurred_at": "2026-10-05T14:30:00Z"}])
@example([GOOD | {"metadata": {"a": 1.5, "b": True, "c": "d"}, "occurred_at": None}])
@example([GOOD | {"idempotency_key": "a\u0085"}])
@example([GOOD | {"occurred_at": "20261005T143000Z"}])
def test_it_reads_at_once_what_it_reads_one_by_one(sent: list[Any]) -> None:
    assert read_batch(json.dumps({"records": sent}).encode()) == read_each(sent)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", b"[]", b"null", b'{"records": null}', b'{"records": {}}', b"\xff"),
        b'{"records": [{"user_id": 1, "event": "api_calls", "quantity": 5}], "more": 1}',
        json.dumps({"records": [GOOD | {"metadata": {"a": float("nan")}}]}).encode(),
        b'{"records": [{"user_id": 1, "event": "api_calls", "quantity": 5}]',
        json.dumps({"records": [GOOD] * 10_001}).encode(),
    ],
)
def test_what_is_no_batch_of_good_records_is_left_to_who_says_why(body: bytes) -> None:
    assert read_batch(body) is None


def test_it_reads_a_whole_batch() -> None:
    records = read_batch(json.dumps({"records": [GOOD] * MAX_RECORDS}).encode())
    assert records == [UsageInput(1, "api_calls", 5)] * 10_000
