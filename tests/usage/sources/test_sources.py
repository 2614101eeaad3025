"""A key is unique within its source: the account, and the origin of an event."""

from __future__ import annotations

from dataclasses import replace

from billtrack.usage.ingest.intake import submit, submit_one
from billtrack.usage.records.queries import records_by_id
from billtrack.usage.records.submissions import UsageInput
from tests.cast import Cast, terms


def test_the_same_key_of_another_origin_is_another_record(cast: Cast) -> None:
    plain = UsageInput(cast.customer.id, "api_calls", 5, idempotency_key="k")
    # Written one after the other, origin and key of the last three look the same.
    inputs = [
        plain,
        replace(plain, origin="/gateway"),
        replace(plain, origin="/other"),
        replace(plain, origin="a:b", idempotency_key="c"),
        replace(plain, origin="a", idempotency_key="b:c"),
        replace(plain, idempotency_key="a:b:c"),
    ]
    by_provider = submit(inputs, terms=terms(cast.provider))
    by_other = submit(inputs, terms=terms(cast.other_provider))
    ids = [outcome.record_id for outcome in [*by_provider, *by_other] if outcome.record_id]
    assert len(set(ids)) == 12
    again = submit(inputs, terms=terms(cast.provider))
    assert [outcome.record_id for outcome in again] == ids[:6]


def test_it_shows_the_origin_within_the_source(cast: Cast) -> None:
    item = UsageInput(cast.customer.id, "api_calls", 5, origin="https://gateway.example/7")
    fresh, _ = submit_one(item, terms=terms(cast.provider))
    (batched,) = submit([item], terms=terms(cast.provider))
    plain, _ = submit_one(replace(item, origin=None), terms=terms(cast.provider))
    expected = f"{cast.provider.id}/https://gateway.example/7"
    assert fresh.source == expected
    assert batched.record_id is not None
    assert records_by_id([batched.record_id])[batched.record_id].source == expected
    assert plain.source == str(cast.provider.id)
