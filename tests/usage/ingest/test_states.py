"""What is stored without asking first is stored only while all that was assumed still holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from billtrack.accounts.credentials.api_keys import find_together
from billtrack.platform.config import Settings
from billtrack.platform.driver import single_statements
from billtrack.usage.ingest.decide import Group, decide
from billtrack.usage.ingest.facts import STATES, KeyHolds, MeterIs, State, UserActive, assume
from billtrack.usage.ingest.store.postgresql import append_if
from billtrack.usage.records.meters import meter_ids
from billtrack.usage.records.rows import NewRecord
from billtrack.usage.records.submissions import Submission, UsageInput
from tests.api.refusals import row_counts
from tests.cast import Cast, terms

on_postgresql = pytest.mark.parametrize("settings", ["postgresql"], indirect=True)


@dataclass(frozen=True)
class Change:
    """A statement after which a state does not hold any more; `%s` is who or what it is of."""

    state: type[State]
    statement: str
    of: str


CHANGES = [
    Change(UserActive, "UPDATE users SET deactivated_at = now() WHERE id = %s", "customer"),
    Change(MeterIs, "UPDATE meters SET code = 'other' WHERE code = %s", "event"),
    Change(MeterIs, "UPDATE meters SET id = id + 100 WHERE code = %s", "event"),
    Change(KeyHolds, "UPDATE api_keys SET revoked_at = now() WHERE user_id = %s", "provider"),
    Change(KeyHolds, "UPDATE api_keys SET expires_at = now() WHERE user_id = %s", "provider"),
    Change(KeyHolds, "UPDATE api_keys SET scopes = '[]' WHERE user_id = %s", "provider"),
    Change(KeyHolds, "UPDATE users SET role = 'customer' WHERE id = %s", "provider"),
    Change(KeyHolds, "UPDATE users SET deactivated_at = now() WHERE id = %s", "provider"),
    Change(KeyHolds, "DELETE FROM api_keys WHERE user_id = %s", "provider"),
]
EVENT = "lamp_hours"


@pytest.fixture
def other(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A second connection, by which there is a meter that no plan refers to."""
    url = settings.sqlalchemy_url.replace("+psycopg", "")
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(
            "INSERT INTO meters (code, name, base_unit, display_unit, display_factor)"
            " VALUES (%s, 'Lamp', 'hour', 'h', 1)",
            (EVENT,),
        )
        yield connection


def look_up(cast: Cast) -> tuple[Sequence[NewRecord], Sequence[State]]:
    """Return a record that may be stored as things are, and the states that let it be."""
    (key,) = find_together([cast.provider.key])
    assert key is not None
    item = UsageInput(cast.customer.id, EVENT, 5, idempotency_key="k")
    sent = [Submission(item, terms(cast.provider))]
    assumed = assume(sent, meters=meter_ids(), keys=[key])
    assert assumed is not None
    facts, states = assumed
    assert {type(state) for state in states} == set(STATES)
    return decide(Group(sent), facts).fresh, states


def store(records: Sequence[NewRecord], states: Sequence[State]) -> int:
    """Store the records if the states hold; return how many were stored."""
    statement, values = append_if(records, states)
    with single_statements() as driver:
        return len(driver.execute(statement.encode(), values).fetchall())


def test_there_is_a_change_for_each_state() -> None:
    assert {one.state for one in CHANGES} == set(STATES)
    # By name: with slots a dataclass is made a second time.
    assert {one.__name__ for one in State.__subclasses__()} == {one.__name__ for one in STATES}


@on_postgresql
@pytest.mark.parametrize("one", CHANGES, ids=lambda one: f"{one.state.__name__}: {one.statement}")
def test_nothing_is_stored_once_a_state_does_not_hold(
    cast: Cast, other: psycopg.Connection[Any], one: Change
) -> None:
    found = look_up(cast)
    values = {"customer": cast.customer.id, "provider": cast.provider.id, "event": EVENT}
    assert other.execute(one.statement.encode(), (values[one.of],)).rowcount == 1
    assert store(*found) == 0
    counts = row_counts()
    assert [counts[name] for name in ("usage_records", "usage_keys", "usage_daily")] == [0, 0, 0]


@on_postgresql
@pytest.mark.usefixtures("other")
def test_it_is_stored_while_all_of_them_hold(cast: Cast) -> None:
    assert store(*look_up(cast)) == 1
    assert row_counts()["usage_records"] == 1
