"""What the loop asks PostgreSQL itself: by keys that were seen before, if all is as it was then.

A group is one statement, which makes sure of it. Where one of a group is not as it was, the others
are stored without it. Of what is not answered here the long way decides, as if nothing had been.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

import psycopg
import structlog
from flask import Flask

from billtrack.accounts.access import Principal
from billtrack.accounts.credentials import api_keys
from billtrack.accounts.credentials.key_cache import LiveKey
from billtrack.accounts.users.permissions import Permission
from billtrack.entrypoints.server.fast_path import reading, recording
from billtrack.entrypoints.server.fast_path.plain_requests import find_owner
from billtrack.platform import limits
from billtrack.platform.async_connection import AnswerLost, LoopConnection
from billtrack.platform.group_commit import Gathering
from billtrack.platform.limits import Budget
from billtrack.usage.ingest import intake
from billtrack.usage.ingest.optimistic import AWAY, submit_if_all_holds
from billtrack.usage.records import lookup
from billtrack.usage.records.outcomes import Outcome
from billtrack.usage.records.queries import RecordView
from billtrack.usage.records.submissions import Submission

log = structlog.get_logger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Known(Generic[T]):
    """What is asked by a key that was seen before, and who was behind it."""

    asked: T
    key: LiveKey
    who: Principal


class AtOnce:
    """Stores and finds records for one event loop."""

    def __init__(self, app: Flask, connection: LoopConnection) -> None:
        self._app = app
        self._connection = connection
        self._storing = Gathering(self._store, at_most=intake.AT_ONCE)
        self._finding = Gathering(self._find, at_most=lookup.AT_ONCE)

    async def record(self, asked: recording.Asked) -> recording.Done | None:
        """Store the record; None where nothing is stored."""
        found = _recognize(asked.secret, Permission.USAGE_RECORD, now=asked.now)
        if found is None:
            return None
        payer = found[1].payer(Budget.USAGE)
        if not limits.spend_at_once(Budget.USAGE, payer):
            return None
        done = await self._storing.ask(_Known(asked, *found))
        if done is None:
            limits.give_back(Budget.USAGE, payer)
        return done

    async def read(self, asked: reading.Asked) -> reading.Found | None:
        """Return the record, where it is there and whoever asks may see it."""
        found = _recognize(asked.secret, Permission.USAGE_READ, now=asked.now)
        record = await self._finding.ask(_Known(asked, *found)) if found else None
        if found is None or record is None:
            return None
        return reading.show(record, found[1], spend=limits.spend_at_once)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._connection.close()

    async def _store(
        self, group: Sequence[_Known[recording.Asked]]
    ) -> Sequence[recording.Done | None]:
        """Store the group; where it cannot be stored as a whole, each half by itself."""
        try:
            outcomes = await self._submit(group)
        except AWAY:
            return [None] * len(group)
        except Exception:
            # Of a group one may be bad; on the long way each is tried by itself.
            log.exception("group_failed")
            return [None] * len(group)
        if outcomes is not None:
            return [
                recording.Done(one.who, outcome)
                for one, outcome in zip(group, outcomes, strict=True)
            ]
        if len(group) == 1:
            return [None]
        half = len(group) // 2
        return [*await self._store(group[:half]), *await self._store(group[half:])]

    async def _submit(self, group: Sequence[_Known[recording.Asked]]) -> Sequence[Outcome] | None:
        submissions = [
            Submission(one.asked.item, recording.terms(one.who, one.asked)) for one in group
        ]
        with self._app.app_context():
            return await submit_if_all_holds(
                self._connection.execute, submissions, keys=_keys_of(group)
            )

    async def _find(self, group: Sequence[_Known[reading.Asked]]) -> Sequence[RecordView | None]:
        wanted = [one.asked.record_id for one in group]
        try:
            return await lookup.find_at_once(self._connection.execute, wanted, keys=_keys_of(group))
        except (psycopg.Error, AnswerLost):
            return [None] * len(group)


def _keys_of(group: Sequence[_Known[T]]) -> Collection[LiveKey]:
    return {one.key.id: one.key for one in group}.values()


def _recognize(
    secret: str, permission: Permission, *, now: datetime
) -> tuple[LiveKey, Principal] | None:
    """Return who asks, as seen before, if they might."""
    key = api_keys.find_seen(secret)
    who = find_owner(key, permission, now=now)
    return None if key is None or who is None else (key, who)
