"""What the quick way reads of a batch is what the models read, and it takes nothing they refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from billtrack.api.v1.plain_batches import PlainBatch, read_plain
from billtrack.api.v1.usage_batches import BatchIn, Sent
from billtrack.usage.journal.refusing import Misshapen

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


def read_by_models(body: bytes) -> list[Sent] | None:
    """Return what the models read; None where they refuse any of it."""
    try:
        sent = [*BatchIn.model_validate_json(body).sent()]
    except ValidationError:
        return None
    return None if any(isinstance(one, Misshapen) for one in sent) else sent


@given(st.lists(records | records.map(lambda some: GOOD | some) | anything, max_size=3))
@example([GOOD, GOOD | {"idempotency_key": "k", "occurred_at": "2026-10-05T14:30:00Z"}])
@example([GOOD | {"metadata": {"a": 1.5, "b": True, "c": "d"}, "occurred_at": None}])
@example([GOOD | {"idempotency_key": "a\u0085"}])
@example([GOOD | {"occurred_at": "20261005T143000Z"}])
def test_it_reads_what_the_models_read(sent: list[Any]) -> None:
    body = json.dumps({"records": sent}).encode()
    plain = read_plain(body)
    assert (plain and plain.sent()) == read_by_models(body)


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
def test_it_leaves_what_is_no_batch_to_the_models(body: bytes) -> None:
    assert read_plain(body) is None


def test_it_reads_a_whole_batch() -> None:
    read = BatchIn.read_json(json.dumps({"records": [GOOD] * 10_000}).encode())
    assert isinstance(read, PlainBatch)
    assert len(read.sent()) == 10_000
