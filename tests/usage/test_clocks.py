"""Servers whose clocks are apart, or jump: a key is one record, and the rollups equal it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest
from apiflask import APIFlask
from sqlalchemy import func, select

from billtrack.platform.extensions import current_calendar, db
from billtrack.usage.ingest.decide import OutsideWindow
from billtrack.usage.ingest.intake import submit, submit_one
from billtrack.usage.records.models import UsageRecord
from billtrack.usage.records.outcomes import Status
from billtrack.usage.records.submissions import UsageInput
from billtrack.usage.records.verification import verify
from tests.cast import Cast, terms
from tests.usage.racing import in_threads

CLOCKS = [timedelta(0), timedelta(hours=-30), timedelta(hours=30), timedelta(days=500)]


def inputs(cast: Cast, *, count: int = 5) -> list[UsageInput]:
    return [
        UsageInput(cast.customer.id, "api_calls", 10, idempotency_key=f"clock-{number}")
        for number in range(count)
    ]


def assert_stored_once(count: int) -> None:
    assert db.session.scalar(select(func.count()).select_from(UsageRecord)) == count
    checked = list(verify(calendar=current_calendar()))
    assert sum(user.rollups for user in checked) > 0
    assert [one for user in checked for one in user.differences] == []


@pytest.mark.parametrize("first", CLOCKS)
def test_a_key_stays_one_record_when_the_clock_jumps(
    app: APIFlask, cast: Cast, first: timedelta
) -> None:
    sent, rules = inputs(cast), terms(cast.provider)
    stored = submit(sent, terms=replace(rules, now=rules.now + first))
    for jump in CLOCKS:
        again = submit(sent, terms=replace(rules, now=rules.now + jump))
        assert {one.status for one in again} == {Status.DUPLICATE}
        assert [one.record_id for one in again] == [one.record_id for one in stored]
    assert_stored_once(len(sent))


def test_servers_whose_clocks_are_apart_store_a_key_once(app: APIFlask, cast: Cast) -> None:
    sent, rules = inputs(cast), terms(cast.provider)

    def send(jump: timedelta) -> list[int | None]:
        at = replace(rules, now=rules.now + jump)
        return [one.record_id for one in submit(sent, terms=at)]

    answers = in_threads(app, [partial(send, jump) for jump in CLOCKS])
    assert None not in answers[0]
    assert len({tuple(answer) for answer in answers}) == 1
    assert_stored_once(len(sent))


def test_what_is_ahead_of_the_clock_is_refused_until_it_is_time(app: APIFlask, cast: Cast) -> None:
    rules = terms(cast.provider)
    soon = rules.now + timedelta(minutes=6)
    item = UsageInput(cast.customer.id, "api_calls", 1, soon, idempotency_key="soon")
    with pytest.raises(OutsideWindow, match="in the future"):
        submit_one(item, terms=rules)
    # The key was not used up.
    _, is_new = submit_one(item, terms=replace(rules, now=rules.now + timedelta(minutes=1)))
    assert is_new
