"""Usage of several variants of a meter: rollups of their own, and one sum for whoever adds up."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from sqlalchemy import select

from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.billing.month_totals.reading import read_usage
from billtrack.core.periods import DateRange
from billtrack.platform.db import transaction
from billtrack.platform.extensions import current_calendar, db
from billtrack.usage.ingest import store
from billtrack.usage.ingest.reversing import reverse
from billtrack.usage.ingest.store import postgresql_copy
from billtrack.usage.records.models import UsageDaily, UsageMonthly, UsageRecord
from billtrack.usage.records.queries import RecordFilter, daily_totals, summarize
from billtrack.usage.records.rows import NewRecord
from billtrack.usage.records.verification import repair, verify
from tests.cast import SYSTEM, Cast, terms

DAY = date(2026, 11, 25)
DAYS = DateRange(DAY, DAY)
EVERYTHING = Reach(Breadth.ALL, 0)


def make(cast: Cast, variant: str, quantity: int) -> NewRecord:
    at = datetime(2026, 11, 25, 12, tzinfo=UTC)
    return NewRecord(
        user_id=cast.customer.id,
        meter_id=1,
        quantity=quantity,
        occurred_at=at,
        day=DAY,
        created_at=at,
        recorded_by_id=cast.provider.id,
        idempotency_key=None,
        key_hash=None,
        fingerprint=b"",
        metadata=None,
        variant=variant,
    )


def put(cast: Cast, *variants: tuple[str, int]) -> None:
    with store.writing() as writer:
        writer.append([make(cast, *one) for one in variants])


@pytest.mark.parametrize("many", [500, 1], ids=["by a statement", "by COPY, where there is one"])
def test_each_has_a_rollup_and_all_have_one_sum(
    cast: Cast, monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(postgresql_copy, "MANY", many)
    put(cast, ("eu", 5), ("us", 7), ("", 11), ("eu", 1))
    rows = db.session.scalars(select(UsageDaily).order_by(UsageDaily.variant)).all()
    found = [(row.variant, row.quantity, row.count) for row in rows]
    assert found == [("", 11, 1), ("eu", 6, 2), ("us", 7, 1)]
    (month,) = db.session.scalars(select(UsageMonthly))
    assert (month.month, month.quantity) == (date(2026, 11, 1), 24)
    user_id = cast.customer.id
    assert daily_totals([user_id], DAYS) == {user_id: {"api_calls": {DAY: 24}}}
    summed = read_usage([user_id], DAYS, meters={1: "api_calls"})
    assert summed == {user_id: {"api_calls": {DAY: 24}}}
    (row,) = summarize(
        reach=EVERYTHING,
        matching=RecordFilter(),
        calendar=current_calendar(),
        group_by="day",
    )
    assert (row.quantity, row.count) == (24, 4)


def test_a_reversal_takes_back_from_its_variant(cast: Cast) -> None:
    put(cast, ("eu", 5), ("us", 7))
    record_id = db.session.scalars(select(UsageRecord.id).where(UsageRecord.variant == "us")).one()
    reverse(record_id, reason="r", reach=EVERYTHING, actor=SYSTEM, terms=terms(cast.provider))
    rows = db.session.scalars(select(UsageDaily).order_by(UsageDaily.variant)).all()
    assert [(row.variant, row.quantity, row.count) for row in rows] == [("eu", 5, 1), ("us", 0, 2)]
    assert [one for user in verify(calendar=current_calendar()) for one in user.differences] == []


def test_a_difference_names_its_variant_and_is_repaired(cast: Cast) -> None:
    put(cast, ("eu", 5), ("us", 7))
    with transaction() as session:
        own = select(UsageDaily).where(UsageDaily.variant == "us")
        session.scalars(own).one().quantity = 8
    found = [one for user in verify(calendar=current_calendar()) for one in user.differences]
    assert "api_calls us, 2026-11-25: 7 in 1 records, but 8 in 1 rolled up" in str(found[0])
    repair(found, calendar=current_calendar(), actor=SYSTEM, now=datetime.now(UTC))
    assert [one for user in verify(calendar=current_calendar()) for one in user.differences] == []
