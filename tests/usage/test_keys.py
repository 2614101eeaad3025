"""Digests of what was sent: they stay what they are, for those that are stored are compared."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from billtrack.usage.keys import fingerprint
from billtrack.usage.submissions import UsageInput

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
