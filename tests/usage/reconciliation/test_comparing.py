"""A sender's totals beside what is stored: days, reversals, other sources, and what is wrong."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import insert

from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.core.periods import BillingCalendar, DateRange
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar
from billtrack.usage.ingest.reversing import reverse
from billtrack.usage.reconciliation import comparing
from billtrack.usage.reconciliation.comparing import InvalidTotals, SentTotal, State, reconcile
from billtrack.usage.reconciliation.stored import stored_totals
from billtrack.usage.records.models import UsageRecord
from tests.cast import SYSTEM, Cast, Member, create_record, terms

EVERYTHING = Reach(Breadth.ALL, 0)
TODAY = datetime.now(UTC).date()
YESTERDAY = TODAY - timedelta(days=1)
NOON = datetime.combine(YESTERDAY, datetime.min.time(), UTC) + timedelta(hours=12)


def sent(
    quantity: int, *, day: date = YESTERDAY, event: str = "api_calls", user_id: int | None = None
) -> SentTotal:
    return SentTotal(day, event, user_id, quantity, place=f"{day} {event} {user_id}")


def compare(
    source: Member, *totals: SentTotal, days: DateRange | None = None
) -> list[tuple[str, int | None, int, int, State]]:
    """Return event, both totals, the difference and the state of each line."""
    found = reconcile(totals, account_id=source.id, days=days, calendar=current_calendar())
    return [
        (line.event, line.sent, line.stored, line.difference, line.state) for line in found.lines
    ]


def test_it_tells_what_differs_and_how(cast: Cast) -> None:
    for event, quantity in (("api_calls", 5), ("vm_uptime", 7), ("cpu_time", 9), ("cpu_time", 1)):
        create_record(cast, event=event, quantity=quantity, occurred_at=NOON)
    create_record(cast, event="data_storage", quantity=3, occurred_at=NOON)
    assert compare(
        cast.provider,
        sent(5),
        sent(9, event="cpu_time"),
        sent(8, event="vm_uptime"),
    ) == [
        ("cpu_time", 9, 10, 1, State.MORE_HERE),
        ("data_storage", None, 3, 3, State.ONLY_HERE),
        ("vm_uptime", 8, 7, -1, State.MISSING_HERE),
        ("api_calls", 5, 5, 0, State.EQUAL),
    ]


def test_days_without_a_total_are_compared_as_well(cast: Cast) -> None:
    create_record(cast, quantity=5, occurred_at=NOON)
    create_record(cast, quantity=6, occurred_at=NOON - timedelta(days=1))
    create_record(cast, quantity=7, occurred_at=NOON - timedelta(days=2))
    days = DateRange(YESTERDAY - timedelta(days=1), YESTERDAY)
    expected = [("api_calls", None, 6, 6, State.ONLY_HERE), ("api_calls", 5, 5, 0, State.EQUAL)]
    assert compare(cast.provider, sent(5), days=days) == expected
    assert compare(cast.provider, days=days)[1][4] is State.ONLY_HERE
    assert compare(cast.provider, sent(5)) == expected[1:]


def test_it_counts_the_records_of_the_source_alone(cast: Cast) -> None:
    create_record(cast, quantity=5, occurred_at=NOON)
    create_record(cast, quantity=70, occurred_at=NOON, recorded_by=cast.other_provider)
    assert compare(cast.provider, sent(5)) == [("api_calls", 5, 5, 0, State.EQUAL)]
    assert compare(cast.other_provider, sent(5)) == [("api_calls", 5, 70, 65, State.MORE_HERE)]
    assert compare(cast.manager, sent(5)) == [("api_calls", 5, 0, -5, State.MISSING_HERE)]


def test_a_reversal_counts_for_the_source_of_what_it_takes_back(cast: Cast) -> None:
    kept = create_record(cast, quantity=5, occurred_at=NOON)
    for quantity in (8, 4):
        wrong = create_record(cast, quantity=quantity, occurred_at=NOON)
        by = cast.manager if quantity == 8 else cast.provider
        reverse(wrong.id, reason="r", reach=EVERYTHING, actor=SYSTEM, terms=terms(by))
    assert compare(cast.provider, sent(5)) == [("api_calls", 5, 5, 0, State.EQUAL)]
    assert compare(cast.manager, sent(0)) == [("api_calls", 0, 0, 0, State.EQUAL)]
    reverse(kept.id, reason="r", reach=EVERYTHING, actor=SYSTEM, terms=terms(cast.manager))
    days = DateRange(YESTERDAY, YESTERDAY)
    assert compare(cast.provider, days=days) == []


def test_totals_per_user_are_told_apart(cast: Cast) -> None:
    create_record(cast, quantity=5, occurred_at=NOON)
    create_record(cast, quantity=6, occurred_at=NOON, user=cast.other_customer)
    found = reconcile(
        [sent(5, user_id=cast.customer.id), sent(2, user_id=cast.stranger.id)],
        account_id=cast.provider.id,
        days=None,
        calendar=current_calendar(),
    )
    assert {(line.user_id, line.sent, line.stored) for line in found.lines} == {
        (cast.customer.id, 5, 5),
        (cast.stranger.id, 2, 0),
        (cast.other_customer.id, None, 6),
    }


def test_a_sum_beyond_64_bits_is_exact(cast: Cast) -> None:
    many = 9300
    insert_records(cast, cast.provider, [(10**15, NOON)] * many)
    assert compare(cast.provider, sent(many * 10**15 - 1)) == [
        ("api_calls", many * 10**15 - 1, many * 10**15, 1, State.MORE_HERE)
    ]


def test_days_are_those_of_the_billing_time_zone(cast: Cast) -> None:
    for zone, first, source in (
        ("UTC", date(2026, 2, 27), cast.admin),
        ("Europe/Berlin", date(2026, 3, 27), cast.manager),
        ("Europe/Berlin", date(2026, 10, 23), cast.provider),
        ("Australia/Lord_Howe", date(2026, 4, 3), cast.other_provider),
        ("Asia/Beirut", date(2026, 3, 27), cast.customer),  # on the 29th there is no midnight
        ("Asia/Kathmandu", date(2026, 6, 1), cast.stranger),
    ):
        calendar, days = BillingCalendar(zone), DateRange(first, first + timedelta(days=5))
        records = list(enumerate(instants_around(calendar, first), start=1))
        insert_records(cast, source, records)
        expected: Counter[date] = Counter()
        for quantity, instant in records:
            expected[calendar.day_of(instant)] += quantity
        found = stored_totals(source.id, days, calendar=calendar, by_user=False, limit=1000)
        assert found == {(day, "api_calls", None): expected[day] for day in days}, (zone, first)


def instants_around(calendar: BillingCalendar, first: date) -> list[datetime]:
    """Return the bounds of eight days from the one before, what is near them, and others."""
    starts = [calendar.starts_at(first + timedelta(days=number)) for number in range(-1, 8)]
    near = [timedelta(microseconds=-1), timedelta(0), timedelta(microseconds=999_999)]
    luck = random.Random(f"{calendar.timezone_name} {first}")
    others = [starts[0] + timedelta(seconds=luck.randrange(8 * 86400)) for _ in range(100)]
    return [start + offset for start in starts for offset in near] + others


def insert_records(cast: Cast, source: Member, records: Sequence[tuple[int, datetime]]) -> None:
    """Store quantities of calls at instants, however long ago."""
    rows = [
        {
            "user_id": cast.customer.id,
            "meter_id": 1,
            "quantity": quantity,
            "occurred_at": instant,
            "created_at": instant,
            "recorded_by_id": source.id,
        }
        for quantity, instant in records
    ]
    with transaction() as session:
        session.execute(insert(UsageRecord), rows)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_what_cannot_be_compared_is_told_by_its_place(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = DateRange(YESTERDAY, YESTERDAY)
    user = cast.customer.id
    for totals, days, told in (
        ([], None, "Send a total"),
        ([sent(1, event="no_such")], None, "no_such None.event: There is no such event"),
        ([sent(1), SentTotal(YESTERDAY, "api_calls", None, 2, "b")], None, "b: The same total"),
        ([sent(1, day=TODAY)], here, "None.day: It lies outside"),
        ([sent(1, user_id=user), sent(1)], None, "Give all totals a user"),
        ([sent(1), sent(1, day=YESTERDAY - timedelta(days=92))], None, "at most 92 days"),
        ([sent(1)] * 10_001, None, "at most 10,000"),
    ):
        with pytest.raises(InvalidTotals, match=told):
            compare(cast.provider, *totals, days=days)
    monkeypatch.setattr(comparing, "MAX_PLACES", 1)
    create_record(cast, occurred_at=NOON)
    create_record(cast, occurred_at=NOON, event="cpu_time")
    with pytest.raises(InvalidTotals, match="Compare fewer days"):
        compare(cast.provider, sent(1))
