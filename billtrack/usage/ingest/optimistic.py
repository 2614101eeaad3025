"""Store a group of records without asking first whether they may be (PostgreSQL).

Most records are what they should be: they come from who has sent before, for users that are
active, under keys that are new. To ask takes as long as to store. So all of it is assumed, the
rules judge by what is assumed, and the one statement that stores the group stores nothing of it
where anything does not hold. Then the group goes the way that asks first, see `intake`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import psycopg

from billtrack.accounts.credentials.key_cache import LiveKey
from billtrack.usage.ingest.decide import Group, decide
from billtrack.usage.ingest.facts import assume
from billtrack.usage.ingest.intake import not_known, view_of
from billtrack.usage.ingest.settling import settle
from billtrack.usage.ingest.store.postgresql import append_if
from billtrack.usage.records.lookup import Execute
from billtrack.usage.records.meters import known_meters
from billtrack.usage.records.outcomes import Outcome, Status
from billtrack.usage.records.rows import NewRecord
from billtrack.usage.records.submissions import Submission

AWAY = (psycopg.OperationalError, psycopg.InterfaceError)
"""Errors of the database that would meet each of a group: it is away, too slow or too busy."""


async def submit_if_all_holds(
    execute: Execute, submissions: Sequence[Submission], *, keys: Collection[LiveKey]
) -> list[Outcome] | None:
    """Store all the records and answer for each; None, nothing stored, where not all can be.

    `keys` are those by which they were sent, as they were seen before. Raises only when nothing
    is stored: one of AWAY where that is not for what was sent.
    """
    assumed = assume(submissions, meters=known_meters(), keys=keys)
    if assumed is None:
        return None
    facts, states = assumed
    decision = decide(Group(submissions), facts)
    if not decision.is_all_new:
        return None
    statement, values = append_if(decision.fresh, states)
    try:
        rows = await execute(statement, values)
        if not rows:  # who looks up next sees what has changed
            return None
        outcomes = [
            _accepted(sent, record, row)
            for sent, record, row in zip(submissions, decision.fresh, rows, strict=True)
        ]
        settle(submissions, outcomes)
    except AWAY:
        raise
    except psycopg.Error:  # a key is taken, a month is full, or asking first meets the same
        return None
    except Exception as error:  # noqa: BLE001 (whatever it was, the client decides)
        return not_known(submissions, error)
    return outcomes


def _accepted(sent: Submission, record: NewRecord, row: tuple[Any, ...]) -> Outcome:
    # Metadata as the database has them, which may write a number in another way than the client.
    record_id, metadata = row
    view = view_of(record_id, record, sent.item.event, metadata)
    return Outcome(Status.ACCEPTED, record_id, stored=record, view=view)
