"""Refused records are kept, bounded and without secrets, and can be sent once more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.core.errors import BilltrackError, InvalidError
from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.usage.erasure import forget_rejected
from billtrack.usage.ingest import intake
from billtrack.usage.ingest.decide import IdempotencyConflict
from billtrack.usage.ingest.settling import settle_misshapen
from billtrack.usage.records.models import UsageRecord
from billtrack.usage.records.submissions import Misshapen, Terms, UsageInput
from billtrack.usage.replay import NotWhole, Replayer, replay, replay_alike
from billtrack.usage.sources.models import UsageSource
from billtrack.usage.sources.operations import forget_old_rejected
from billtrack.usage.sources.queries import list_sources
from billtrack.usage.sources.refusing import note_refused
from billtrack.usage.sources.rejected import (
    RejectedFilter,
    RejectedNotFound,
    RejectedView,
    get_rejected,
    list_reasons,
    list_rejected,
)
from billtrack.usage.sources.tally import EXTENSION
from billtrack.usage.sources.writing import write_noted
from tests.cast import SYSTEM, Cast, Member, create_user, terms

EVERYTHING = Reach(Breadth.ALL, 0)
MISSING = 999


def keeping(member: Member) -> Terms:
    return replace(terms(member), keeps_refused=True)


def test_it_keeps_what_was_sent_and_why_it_was_refused(cast: Cast) -> None:
    sent = UsageInput(
        cast.customer.id,
        "unheard_of",
        5,
        datetime(2026, 11, 1, 12, tzinfo=UTC),
        idempotency_key="k",
        metadata={"region": "eu", "n": 1.5},
        origin="/gateway",
    )
    refuse(cast.provider, sent)
    settle_misshapen(
        Misshapen([1, "\0"], InvalidError("body: no\0thing", errors=())),
        keeping(cast.provider),
    )
    misshapen, refused = rejected()
    assert refused.item == {
        "user_id": cast.customer.id,
        "event": "unheard_of",
        "quantity": 5,
        "occurred_at": "2026-11-01T12:00:00Z",
        "idempotency_key": "k",
        "metadata": {"region": "eu", "n": 1.5},
    }
    assert (refused.code, refused.origin, refused.is_whole) == ("unknown_event", "/gateway", True)
    assert [one.field for one in refused.errors] == ["event"]
    assert (misshapen.item, misshapen.detail) == ([1, "\0"], "body: nothing")
    (source,) = list_sources(reach=EVERYTHING, now=datetime.now(UTC))
    assert source.last_day.rejected == 2


def test_the_same_key_again_is_the_same_entry(cast: Cast) -> None:
    sent = UsageInput(MISSING, "api_calls", 5, idempotency_key="k")
    refuse(cast.provider, sent)
    refuse(cast.provider, replace(sent, quantity=6))
    write_noted()
    refuse(cast.provider, replace(sent, event="unheard_of", user_id=cast.customer.id))
    refuse(cast.other_provider, sent)
    refuse(cast.provider, replace(sent, origin="/gateway"))
    *_, first = found = rejected()
    assert [one.times for one in found] == [1, 1, 3]
    assert (first.code, first.item["quantity"]) == ("unknown_event", 5)
    assert first.first_received_at < first.last_received_at


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_one_that_comes_again_and_again_leaves_room_for_others(cast: Cast) -> None:
    sent = UsageInput(MISSING, "api_calls", 5, idempotency_key="k")
    for number in range(150):
        refuse(cast.provider, sent)
        if number % 40 == 0:
            write_noted()
    refuse(cast.provider, replace(sent, idempotency_key="other"))
    assert [one.times for one in rejected()] == [1, 150]


def test_one_broken_sender_does_not_fill_the_disk(app: APIFlask, cast: Cast) -> None:
    sent = UsageInput(MISSING, "api_calls", 5)
    for _ in range(105):
        refuse(cast.provider, sent)
    refuse(cast.other_provider, sent)
    write_noted()
    del app.extensions[EXTENSION]  # another process knows nothing of the hundred
    refuse(cast.provider, sent)
    write_noted()
    assert len(rejected(limit=500)) == 101
    (source, _) = list_sources(reach=EVERYTHING, now=datetime.now(UTC))
    assert source.last_day.rejected == 106


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_it_keeps_no_secrets_and_nothing_large(cast: Cast) -> None:
    key = "bt_live_" + "a" * 40
    for item in (
        {"user_id": 5, "password": "hunter2", "metadata": {"note": key}},
        {"user_id": 5, "idempotency_key": key},
        {"user_id": 5, "event": "x" * 400, "metadata": {"note": "y" * 9000}},
        ["z" * 9000],
    ):
        settle_misshapen(Misshapen(item, InvalidError("no")), keeping(cast.provider))
    listed, large, taken, secret = rejected()
    assert [one.is_whole for one in (listed, large, taken, secret)] == [False] * 4
    assert secret.item == {
        "user_id": 5,
        "password": "[redacted]",
        "metadata": {"note": "bt_live_[redacted]"},
    }
    assert (taken.item["idempotency_key"], large.item) == ("bt_live_[redacted]", {"user_id": 5})
    assert listed.item == {}
    with pytest.raises(NotWhole):
        replay(secret.id, changes={}, by=by(cast.manager))


def test_it_waits_where_it_cannot_be_stored(app: APIFlask, cast: Cast) -> None:
    refuse(cast.provider, UsageInput(MISSING, "api_calls", 5))
    rename("usage_rejected_records", "away")
    with pytest.raises(SQLAlchemyError):
        write_noted()
    rename("away", "usage_rejected_records")
    assert len(rejected()) == 1


def test_it_is_replayed_as_usage_of_its_source_and_of_when_it_came(cast: Cast) -> None:
    now = datetime.now(UTC)
    sent = UsageInput(MISSING, "api_calls", 5, idempotency_key="k", origin="/gateway")
    refuse(cast.provider, sent, now=now - timedelta(days=3))
    (one,) = rejected()
    manager = by(cast.manager, now=now)
    record, is_new = replay(one.id, changes={"user_id": cast.customer.id}, by=manager)
    assert (is_new, record.quantity, record.user_id) == (True, 5, cast.customer.id)
    assert record.source == f"{cast.provider.id}/{'/gateway'}"
    assert (record.idempotency_key, record.occurred_at) == ("k", now - timedelta(days=3))
    assert record.created_at == now
    assert replay(one.id, changes={"quantity": 7}, by=manager) == (record, False)
    # The source mends it, too, and sends it again by itself.
    mended = replace(sent, user_id=cast.customer.id)
    assert intake.submit_one(mended, terms=terms(cast.provider)) == (record, False)
    (replayed,) = rejected()
    assert (replayed.record_id, replayed.replayed_at) == (record.id, now)
    entry = db.session.scalars(
        select(AuditEntry).where(AuditEntry.action == "usage.replayed")
    ).one()
    assert (entry.actor_user_id, entry.object_id) == (cast.manager.id, record.id)
    assert entry.changes["changed"] == "user_id"
    # Neither is seen as the doing of the source.
    write_noted()
    assert db.session.get_one(UsageSource, cast.provider.id).first_seen_at < now
    (source,) = list_sources(reach=EVERYTHING, now=datetime.now(UTC))
    assert source.last_day.accepted == 0


def test_what_is_refused_again_stays_as_it_was(cast: Cast) -> None:
    refuse(cast.provider, UsageInput(MISSING, "api_calls", 5, idempotency_key="k"))
    (before,) = rejected()
    for changes, code in (
        ({"user_id": 10**17}, "unknown_user"),
        ({"user_id": cast.customer.id, "quantity": 0}, "invalid"),
        ({"user_id": cast.customer.id, "idempotency_key": "other"}, "invalid"),
        ({"user_id": cast.customer.id, "colour": "red"}, "invalid"),
    ):
        with pytest.raises(BilltrackError) as refusal:
            replay(before.id, changes=changes, by=by(cast.manager))
        assert refusal.value.code == code
    assert rejected() == [before]
    assert count(UsageRecord) == 0


def test_only_a_taken_key_may_be_changed(cast: Cast) -> None:
    item = UsageInput(cast.customer.id, "api_calls", 5, idempotency_key="k")
    intake.submit_one(item, terms=terms(cast.provider))
    refuse(cast.provider, replace(item, quantity=6))
    (one,) = rejected()
    with pytest.raises(IdempotencyConflict):
        replay(one.id, changes={}, by=by(cast.manager))
    record, _ = replay(one.id, changes={"idempotency_key": "k2"}, by=by(cast.manager))
    assert (record.quantity, record.idempotency_key) == (6, "k2")


def test_all_of_one_reason_are_replayed_at_once(cast: Cast) -> None:
    missing = cast.stranger.id + 1
    sent = UsageInput(missing, "api_calls", 5)
    for number in range(3):
        refuse(cast.provider, replace(sent, idempotency_key=f"k{number}"))
    refuse(cast.provider, sent)
    refuse(cast.provider, replace(sent, user_id=missing + 1, idempotency_key="else"))
    refuse(cast.other_provider, replace(sent, idempotency_key="k0"))
    write_noted()
    reasons = list_reasons(reach=EVERYTHING)
    assert [(one.count, one.account_id) for one in reasons] == [
        (4, cast.provider.id),
        (1, cast.provider.id),
        (1, cast.other_provider.id),
    ]
    assert replay_alike(reasons[0].id, by=by(cast.manager)) == (0, 4)
    assert create_user().id == missing
    assert replay_alike(reasons[0].id, by=by(cast.manager)) == (4, 0)
    assert replay_alike(reasons[0].id, by=by(cast.manager)) == (0, 0)
    assert count(UsageRecord) == 4
    assert len(list_rejected(reach=EVERYTHING, matching=RejectedFilter(is_open=True))) == 2
    keys = db.session.scalars(select(UsageRecord.idempotency_key).order_by(UsageRecord.id)).all()
    assert keys[:3] == ["k0", "k1", "k2"]
    assert (keys[3] or "").startswith("rejected-")


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_what_may_be_one_record_tried_again_is_left_to_a_person(cast: Cast) -> None:
    missing = cast.stranger.id + 1
    sent = UsageInput(missing, "api_calls", 5)
    for one in (sent, sent, replace(sent, quantity=6), replace(sent, idempotency_key="k")):
        refuse(cast.provider, one)
    write_noted()
    create_user()
    (reason,) = list_reasons(reach=EVERYTHING)
    assert replay_alike(reason.id, by=by(cast.manager)) == (2, 2)
    left = list_rejected(reach=EVERYTHING, matching=RejectedFilter(is_open=True))
    assert [one.item["quantity"] for one in left] == [5, 5]
    replay(left[0].id, changes={}, by=by(cast.manager))
    assert replay_alike(left[1].id, by=by(cast.manager)) == (0, 1)


@pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
def test_each_reaches_what_it_sent(cast: Cast) -> None:
    refuse(cast.provider, UsageInput(MISSING, "api_calls", 5))
    (one,) = rejected()
    own = Reach(Breadth.RECORDED, cast.provider.id)
    foreign = Reach(Breadth.RECORDED, cast.other_provider.id)
    assert get_rejected(one.id, reach=own) == one
    assert list_rejected(reach=foreign, matching=RejectedFilter()) == []
    assert list_reasons(reach=foreign) == []
    changes = {"user_id": cast.customer.id}
    for call in (
        lambda: get_rejected(one.id, reach=foreign),
        lambda: replay(one.id, changes=changes, by=by(cast.other_provider, reach=foreign)),
        lambda: replay_alike(one.id, by=by(cast.other_provider, reach=foreign)),
    ):
        with pytest.raises(RejectedNotFound):
            call()


def test_it_is_forgotten_after_thirty_days_or_when_a_person_asks(cast: Cast) -> None:
    now = datetime.now(UTC)
    for member, user_id, days in (
        (cast.provider, MISSING, 31),
        (cast.provider, MISSING, 29),
        (cast.provider, cast.customer.id, 1),
        (cast.other_provider, cast.other_customer.id, 1),
    ):
        sent = UsageInput(user_id, "unheard_of", 5)
        refuse(member, sent, now=now - timedelta(days=days))
    assert len(rejected()) == 4
    with transaction():
        forget_old_rejected(now)
    assert len(rejected()) == 3
    with transaction():
        forget_rejected(cast.customer.id)
    kept = {one.item["user_id"] for one in rejected()}
    assert kept == {MISSING, cast.other_customer.id}


def refuse(member: Member, sent: UsageInput, *, now: datetime | None = None) -> None:
    """Send a record that is refused, as the API does."""
    rules = terms(member)
    if now is not None:
        rules = replace(rules, now=now)
    with pytest.raises(BilltrackError) as refusal:
        intake.submit_one(sent, terms=rules)
    note_refused(sent, refusal.value, terms=rules)


def rejected(*, limit: int = 50) -> list[RejectedView]:
    write_noted()
    return list_rejected(reach=EVERYTHING, matching=RejectedFilter(), limit=limit)


def by(member: Member, *, now: datetime | None = None, reach: Reach = EVERYTHING) -> Replayer:
    actor = replace(SYSTEM, user_id=member.id)
    return Replayer(reach, actor, now or datetime.now(UTC))


def rename(table: str, to: str) -> None:
    with transaction() as session:
        session.connection().exec_driver_sql(f"ALTER TABLE {table} RENAME TO {to}")


def count(model: Any) -> int:
    return db.session.scalar(select(func.count()).select_from(model)) or 0
