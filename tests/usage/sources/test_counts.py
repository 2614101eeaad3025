"""What sources send is counted beside intake, and stored now and then, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from apiflask import APIFlask
from flask_migrate import downgrade, upgrade
from sqlalchemy import delete
from sqlalchemy.exc import SQLAlchemyError

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Breadth, Reach, Role
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.usage.ingest.intake import preview, submit, submit_one
from billtrack.usage.ingest.reversing import reverse
from billtrack.usage.records.submissions import UsageInput
from billtrack.usage.sources.models import UsageSource, UsageSourceHour
from billtrack.usage.sources.operations import forget_old_hours, mark_silent_sources
from billtrack.usage.sources.queries import (
    Counts,
    SourceNotFound,
    get_source,
    list_hours,
    list_silent_sources,
    list_sources,
)
from billtrack.usage.sources.writing import write_noted
from tests.cast import SYSTEM, Cast, Member, create_user, terms

EVERYTHING = Reach(Breadth.ALL, 0)
HOUR = timedelta(hours=1)
NOON = datetime(2026, 11, 18, 12, 30, tzinfo=UTC)


def test_it_counts_what_became_of_each_record(cast: Cast) -> None:
    item = UsageInput(cast.customer.id, "api_calls", 5, NOON, idempotency_key="k")
    rules = replace(terms(cast.provider), now=NOON)
    late = replace(item, occurred_at=NOON - timedelta(days=30), idempotency_key="late")
    refused = [replace(item, event="unheard_of", idempotency_key="u"), replace(item, quantity=6)]
    submit([item, late, item, *refused[:1]], terms=rules)
    submit(refused, terms=replace(rules, now=NOON + HOUR))
    submit([replace(item, idempotency_key="held back"), *refused], terms=rules, is_whole=True)
    preview([item, *refused], terms=rules)
    write_noted()
    record, _ = submit_one(item, terms=replace(rules, now=NOON + HOUR))
    reverse(
        record.id,
        reason="counted twice",
        reach=EVERYTHING,
        actor=SYSTEM,
        terms=replace(terms(cast.manager), now=NOON + 2 * HOUR),
    )
    write_noted()
    write_noted()  # nothing is added twice
    assert hours_of(cast.provider) == {
        12: Counts(accepted=2, late=1, duplicate=1, conflict=1, rejected=2),
        13: Counts(duplicate=1, conflict=1, rejected=1),
        14: Counts(reversed=1),
    }
    (source,) = list_sources(reach=EVERYTHING, now=NOON + 2 * HOUR)
    assert (source.account_id, source.first_seen_at) == (cast.provider.id, NOON)
    assert source.last_seen_at == NOON + HOUR  # not when others took something back
    assert source.last_day == Counts(2, 1, 2, 2, 3, 1)
    later = get_source(cast.provider.id, reach=EVERYTHING, now=NOON + 25 * HOUR)
    assert later.last_day == Counts(reversed=1)


def test_it_counts_on_when_a_source_was_removed_meanwhile(cast: Cast) -> None:
    gone = create_user(role=Role.PROVIDER)
    item = UsageInput(cast.customer.id, "api_calls", 0)  # refused: nothing holds the account
    submit([item], terms=replace(terms(cast.provider), recorded_by_id=gone.id))
    submit([item, item], terms=terms(cast.provider))
    with transaction() as session:
        session.execute(delete(User).where(User.id == gone.id))
    write_noted()
    (source,) = list_sources(reach=EVERYTHING, now=datetime.now(UTC))
    assert (source.account_id, source.last_day) == (cast.provider.id, Counts(rejected=2))


def test_it_keeps_what_could_not_be_stored(app: APIFlask, cast: Cast) -> None:
    item = UsageInput(cast.customer.id, "api_calls", 5)
    submit([item, item], terms=terms(cast.provider))
    with transaction() as session:
        session.connection().exec_driver_sql("ALTER TABLE usage_source_hours RENAME TO away")
    with pytest.raises(SQLAlchemyError):
        write_noted()
    submit([item], terms=terms(cast.provider))
    with transaction() as session:
        session.connection().exec_driver_sql("ALTER TABLE away RENAME TO usage_source_hours")
    write_noted()
    assert sum(one.accepted for one in hours_of(cast.provider).values()) == 3


def test_each_sees_the_sources_within_reach(cast: Cast) -> None:
    item = UsageInput(cast.customer.id, "api_calls", 5)
    for member in (cast.provider, cast.other_provider):
        submit([item], terms=terms(member))
    write_noted()
    own = Reach(Breadth.RECORDED, cast.provider.id)
    seen = {
        reach: [one.account_id for one in list_sources(reach=reach, now=datetime.now(UTC))]
        for reach in (EVERYTHING, own, Reach(Breadth.OWN, cast.customer.id))
    }
    assert list(seen.values()) == [
        [cast.provider.id, cast.other_provider.id],
        [cast.provider.id],
        [],
    ]
    with pytest.raises(SourceNotFound):
        get_source(cast.other_provider.id, reach=own, now=datetime.now(UTC))


def test_it_notes_who_has_gone_silent_and_who_is_back(cast: Cast) -> None:
    first = NOON - timedelta(weeks=5)
    for number in range(5 * 168 + 1):
        send(cast.provider, at=first + number * HOUR)
    send(cast.other_provider, at=NOON)
    write_noted()
    assert mark_silent_sources(now=NOON + HOUR) == 0
    assert mark_silent_sources(now=NOON + 3 * HOUR) == 1
    assert mark_silent_sources(now=NOON + 4 * HOUR) == 0
    assert silent(NOON) == [(cast.provider.id, NOON.replace(minute=0) + HOUR)]
    set_deactivated(cast.provider, NOON)
    assert mark_silent_sources(now=NOON + 4 * HOUR) == 1
    assert silent(NOON) == []
    set_deactivated(cast.provider, None)
    assert mark_silent_sources(now=NOON + 4 * HOUR) == 1
    send(cast.provider, at=NOON + 5 * HOUR)
    write_noted()
    assert silent(NOON) == []
    send(cast.provider, at=NOON)  # another process stores late what it saw before
    write_noted()
    (source, _) = list_sources(reach=EVERYTHING, now=NOON)
    assert source.last_seen_at == NOON + 5 * HOUR


def test_it_forgets_hours_but_not_when_a_source_was_seen(cast: Cast) -> None:
    send(cast.provider, at=NOON)
    send(cast.provider, at=NOON + HOUR)
    write_noted()
    with transaction():
        forget_old_hours(NOON + timedelta(days=90, minutes=1))
    assert set(hours_of(cast.provider)) == {13}
    assert db.session.get_one(UsageSource, cast.provider.id).first_seen_at == NOON


def send(member: Member, *, at: datetime) -> None:
    """Send a record that is refused: counts as any other, and stores nothing."""
    item = UsageInput(10**17, "api_calls", 5)
    submit([item], terms=replace(terms(member), now=at))


def hours_of(member: Member) -> dict[int, Counts]:
    """Return the counts by hour of the day."""
    hours = list_hours(
        member.id, starts_at=NOON - timedelta(days=60), ends_at=datetime.now(UTC) + HOUR
    )
    assert len(hours) == db.session.query(UsageSourceHour).filter_by(account_id=member.id).count()
    return {one.starts_at.hour: one.counts for one in hours}


def silent(now: datetime) -> list[tuple[int, datetime | None]]:
    found = list_silent_sources(reach=EVERYTHING, now=now)
    return [(one.account_id, one.silent_since_at) for one in found]


def set_deactivated(member: Member, at: datetime | None) -> None:
    with transaction() as session:
        session.get_one(User, member.id).deactivated_at = at


def test_an_installation_that_has_records_knows_their_sources(app: APIFlask, cast: Cast) -> None:
    at = datetime.now(UTC).replace(minute=10)
    item = UsageInput(cast.customer.id, "api_calls", 5)
    for hours in (2, 2, 24 * 100):
        submit([item], terms=replace(terms(cast.provider), now=at - hours * HOUR))
    record, _ = submit_one(item, terms=replace(terms(cast.other_provider), now=at))
    reverse(record.id, reason="r", reach=EVERYTHING, actor=SYSTEM, terms=terms(cast.manager))
    db.session.rollback()
    downgrade(revision="0010")  # nothing was counted but in memory, and that is not stored
    upgrade()
    found = list_sources(reach=EVERYTHING, now=at)
    assert [(one.account_id, one.last_day) for one in found] == [
        (cast.provider.id, Counts(accepted=2)),
        (cast.other_provider.id, Counts(accepted=1)),
    ]
    assert (found[0].first_seen_at, found[0].last_seen_at) == (at - 2400 * HOUR, at - 2 * HOUR)
    starts_at = list_hours(cast.provider.id, starts_at=at - 9999 * HOUR, ends_at=at)
    assert [one.starts_at for one in starts_at] == [
        at.replace(minute=0, second=0, microsecond=0) - 2 * HOUR
    ]
