"""Ways for one record in a request: fast path, route, gzip."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.conformance import hooks
from tests.conformance.outcomes import ACCEPTED, REFUSED, Outcome
from tests.conformance.records import Record
from tests.conformance.ways import Answer, Way, answer_of, bearer
from tests.conformance.world import USAGE, World


class FastPath(Way):
    """POST /usage/ as it is answered in the event loop, with the routes behind it."""

    name = "fast path"
    watched = frozenset({hooks.LOOP})  # any part may answer if the loop declines

    @contextmanager
    def open(self, world: World) -> Iterator[None]:
        with hooks.event_loop(world.app, world.watch):
            yield

    def send(self, world: World, record: Record) -> Answer:
        response = world.client.post(
            USAGE, json=world.body(record), headers=bearer(world.source(record).key)
        )
        return answer_of(response)

    def parts(self, world: World, record: Record, outcome: Outcome) -> frozenset[str]:
        """On PostgreSQL the loop answers what it stores, on SQLite whatever is a record."""
        is_taken = outcome.is_shaped and outcome.verdict != REFUSED
        if world.database == "postgresql":
            is_taken = outcome.verdict == ACCEPTED
        return frozenset({hooks.LOOP} if is_taken else ())


class Route(Way):
    """POST /usage/ as the framework answers it."""

    name = "route"

    def send(self, world: World, record: Record) -> Answer:
        response = world.client.post(
            USAGE,
            data=json.dumps(world.body(record)),
            content_type="application/json; charset=utf-8",  # which the fast path does not take
            headers=bearer(world.source(record).key),
        )
        return answer_of(response)


class Packed(Way):
    """POST /usage/ with a body that is packed with gzip."""

    name = "gzip"

    def send(self, world: World, record: Record) -> Answer:
        response = world.client.post(
            USAGE,
            data=gzip.compress(json.dumps(world.body(record)).encode()),
            content_type="application/json",
            headers=bearer(world.source(record).key, **{"Content-Encoding": "gzip"}),
        )
        return answer_of(response)


SINGLE_WAYS = [Route(), FastPath(), Packed()]
