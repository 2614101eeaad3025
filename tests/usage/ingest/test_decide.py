"""Each rule for usage records, judged on facts that are written here; no database is asked."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from billtrack.core.periods import BillingCalendar, Month
from billtrack.usage.ingest.decide import Group, decide
from billtrack.usage.ingest.facts import Facts
from billtrack.usage.records.keys import fingerprint, hash_of
from billtrack.usage.records.outcomes import Outcome, Status
from billtrack.usage.records.rows import UsedKey
from billtrack.usage.records.submissions import Submission, Terms, UsageInput

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
TERMS = Terms(
    recorded_by_id=7, now=NOW, calendar=BillingCalendar("Europe/Zurich"), backfill_days=62
)
ACTIVE, INACTIVE = 5, 6
MARCH = Month(2026, 3)


def facts(
    *, keys: Mapping[bytes, UsedKey] | None = None, total: int = 0, month: Month = MARCH
) -> Facts:
    return Facts(
        keys=keys or {},
        is_active={ACTIVE: True, INACTIVE: False},
        meters={"api_calls": 1, "cpu_time": 3},
        totals={(ACTIVE, 1, month): total},
        events=["api_calls", "cpu_time"],
    )


def item(**changes: Any) -> UsageInput:
    return UsageInput(**{"user_id": ACTIVE, "event": "api_calls", "quantity": 5, **changes})


def judged(*items: UsageInput, by: Facts | None = None) -> list[Outcome]:
    """Return what becomes of each; what is new gets the ids 101 and on."""
    decision = decide(Group([Submission(one, TERMS) for one in items]), by or facts())
    return decision.outcomes(range(101, 101 + len(decision.fresh)))


def told(*items: UsageInput, by: Facts | None = None) -> list[str | int | None]:
    """Return the code of each refusal, the id of what is accepted, "=id" of what is known."""
    return [
        one.error.code
        if one.error
        else (f"={one.record_id}" if one.status is Status.DUPLICATE else one.record_id)
        for one in judged(*items, by=by)
    ]


def test_what_is_new_is_stored_with_its_day_month_and_key() -> None:
    at = datetime(2026, 2, 28, 23, 30, tzinfo=UTC)  # in Zurich that is the first of March
    (outcome,) = judged(item(occurred_at=at, idempotency_key="k", metadata={"a": 1}, origin="/o"))
    stored = outcome.stored
    assert stored is not None
    assert (stored.user_id, stored.meter_id, stored.quantity) == (5, 1, 5)
    assert (stored.day.isoformat(), stored.occurred_at) == ("2026-03-01", at)
    assert (stored.created_at, stored.recorded_by_id) == (NOW, 7)
    assert (stored.idempotency_key, stored.metadata, stored.origin) == ("k", {"a": 1}, "/o")
    assert stored.key_hash == hash_of(7, "/o", "k")
    assert (outcome.status, outcome.record_id, outcome.error) == (Status.ACCEPTED, 101, None)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"quantity": 0}, "invalid_quantity"),
        ({"quantity": -1}, "invalid_quantity"),
        ({"quantity": 1}, 101),
        ({"quantity": 10**15}, 101),
        ({"quantity": 10**15 + 1}, "invalid_quantity"),
        ({"user_id": 9}, "unknown_user"),
        ({"user_id": INACTIVE}, "inactive_user"),
        ({"event": "unheard_of"}, "unknown_event"),
        ({"event": "cpu_time"}, 101),
        ({"occurred_at": NOW + timedelta(minutes=5)}, 101),
        ({"occurred_at": NOW + timedelta(minutes=5, microseconds=1)}, "occurred_at_out_of_range"),
        ({"occurred_at": NOW - timedelta(days=62)}, 101),
        ({"occurred_at": NOW - timedelta(days=62, microseconds=1)}, "occurred_at_out_of_range"),
    ],
)
def test_each_rule_holds_up_to_its_border(changes: dict[str, Any], code: str | int) -> None:
    assert told(item(**changes)) == [code]


def test_an_unknown_event_is_told_those_that_are_known() -> None:
    (outcome,) = judged(item(event="unheard_of"))
    assert outcome.error is not None
    assert outcome.error.detail == "There is no event unheard_of. Known: api_calls, cpu_time."
    assert outcome.error.errors[0].field == "event"


@pytest.mark.parametrize(
    ("total", "expected"), [(10**18 - 5, 101), (10**18 - 4, "quantity_overflow")]
)
def test_a_month_holds_up_to_its_limit(total: int, expected: str | int) -> None:
    assert told(item(), by=facts(total=total)) == [expected]


def test_a_month_counts_what_goes_before_in_the_group_and_nothing_that_is_refused() -> None:
    by = facts(total=10**18 - 10)
    sent = [item(quantity=6), item(quantity=6), item(quantity=4), item(quantity=1)]
    assert told(*sent, by=by) == [101, "quantity_overflow", 102, "quantity_overflow"]


def test_each_month_user_and_event_has_a_limit_of_its_own() -> None:
    by = facts(total=10**18)
    last_month = NOW - timedelta(days=20)
    sent = [item(), item(event="cpu_time"), item(occurred_at=last_month)]
    assert told(*sent, by=by) == ["quantity_overflow", 101, 102]


def test_a_key_that_is_used_answers_before_any_rule() -> None:
    original = item(idempotency_key="k", user_id=INACTIVE, quantity=0, event="unheard_of")
    used = {hash_of(7, None, "k"): UsedKey(33, fingerprint(original))}
    other = item(idempotency_key="k")
    assert told(original, other, by=facts(keys=used)) == ["=33", "idempotency_conflict"]


def test_the_key_of_another_source_is_another_key() -> None:
    used = {hash_of(7, None, "k"): UsedKey(33, b"")}
    assert told(item(idempotency_key="k", origin="/o"), by=facts(keys=used)) == [101]


def test_a_key_twice_in_a_group_is_one_record_or_a_conflict() -> None:
    sent = [
        item(idempotency_key="k"),
        item(idempotency_key="k"),
        item(idempotency_key="k", quantity=6),
        item(),
        item(),
    ]
    assert told(*sent) == [101, "=101", "idempotency_conflict", 102, 103]


def test_what_is_refused_uses_up_no_key() -> None:
    sent = [item(idempotency_key="k", user_id=9), item(idempotency_key="k")]
    assert told(*sent) == ["unknown_user", 101]


def test_without_ids_nothing_is_stored() -> None:
    decision = decide(
        Group([Submission(item(), TERMS), Submission(item(user_id=9), TERMS)]), facts()
    )
    assert (decision.is_all_new, decision.has_refusals) == (False, True)
    statuses = [(one.status, one.record_id) for one in decision.outcomes(())]
    assert statuses == [(Status.ACCEPTED, None), (Status.REJECTED, None)]
