"""Digests of what was sent: they stay what they are, for those that are stored are compared."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from billtrack.usage.records.keys import fingerprint, hash_of, reversal_hash
from billtrack.usage.records.submissions import UsageInput

instants = st.datetimes(
    min_value=datetime(2000, 1, 2),  # noqa: DTZ001  (hypothesis adds the zone)
    max_value=datetime(2999, 12, 30),  # noqa: DTZ001
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
)
values = st.one_of(st.text(), st.integers(), st.booleans(), st.floats(allow_nan=False))
inputs = st.builds(
    UsageInput,
    user_id=st.integers(min_value=1),
    event=st.text(),
    quantity=st.integers(),
    occurred_at=st.none() | instants,
    idempotency_key=st.text(),
    metadata=st.none() | st.dictionaries(st.text(), values, max_size=3),
)


@given(inputs)
def test_it_digests_a_json_list_of_what_was_sent(item: UsageInput) -> None:
    sent = [
        item.user_id,
        item.event,
        item.quantity,
        item.occurred_at.astimezone(UTC).isoformat() if item.occurred_at else None,
        item.metadata or None,
    ]
    text = json.dumps(sent, sort_keys=True, separators=(",", ":"))
    assert fingerprint(item) == hashlib.blake2b(text.encode(), digest_size=16).digest()


def test_it_digests_as_ever() -> None:
    item = UsageInput(
        user_id=7,
        event="api_calls",
        quantity=500_000,
        occurred_at=datetime(2026, 10, 5, 14, 30, tzinfo=UTC),
        metadata={"region": "eu-wést", "share": 0.5},
    )
    assert fingerprint(item).hex() == "831343ee6295cb14f24d6350afba97db"


def test_a_key_is_of_an_account_and_an_origin() -> None:
    # The first 16 bytes of BLAKE2b of `7:k` and `7/2//o:k`: never to be changed.
    assert hash_of(7, None, "k").hex() == "39568769f40862a2dca77aa24f7e1f0e"
    assert hash_of(7, "/o", "k").hex() == "416f88863985b5aa45a44ac52835a24c"
    assert hash_of(8, None, "k") != hash_of(7, None, "k")


def test_a_reversal_claims_a_hash_that_no_key_has() -> None:
    # As the migration made them, and docs/operations.md says: never to be changed.
    assert reversal_hash(7).hex() == "1f4b0c8d510c2f08eaf0659859241752"
    assert reversal_hash(7) == hashlib.blake2b(b"reversal:7", digest_size=16).digest()


@given(st.integers(1), st.none() | st.text(), st.text())
def test_texts_of_keys_begin_with_a_number(account_id: int, origin: str | None, key: str) -> None:
    assert hash_of(account_id, origin, key) != reversal_hash(account_id)
