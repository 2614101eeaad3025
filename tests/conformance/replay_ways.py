"""Ways for rejected records that are replayed: by the API and on a page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tests.conformance import hooks
from tests.conformance.browsing import Browser
from tests.conformance.outcomes import (
    ACCEPTED,
    CONFLICT,
    DUPLICATE,
    GENERATED,
    OUTCOMES,
    REJECTED,
    Outcome,
)
from tests.conformance.page_ways import answer_by_page
from tests.conformance.records import Record
from tests.conformance.ways import Answer, Way, answer_of, bearer
from tests.conformance.world import USAGE, World, ask

WRONG_EVENT = "not_yet_known"


class Replay(Way):
    """A refused record that is sent once more by the API.

    A bad record is sent and replayed unchanged. A good one is first sent with a wrong event, which
    the replay corrects.
    """

    name = "replay"

    def send(self, world: World, record: Record) -> Answer:
        body = world.body(record)
        is_refused = OUTCOMES[record.name].verdict in {REJECTED, CONFLICT}
        changes = {} if is_refused else {"event": body["event"]}
        rejected_id = self._have_refused(world, record, body if is_refused else _wrong(body))
        return self._replay(world, record, rejected_id, {**body, **changes}, changes)

    def _have_refused(self, world: World, record: Record, body: Mapping[str, Any]) -> int:
        source = world.source(record)
        response = world.client.post(USAGE, json=body, headers=bearer(source.key))
        assert response.status_code in {409, 422}, response.get_data(as_text=True)
        hooks.store_counts()
        query = "SELECT max(id) AS id FROM usage_rejected_records WHERE account_id = :id"
        found: int = ask(query, id=source.sender_id)[0]["id"]
        return found

    def _replay(
        self,
        world: World,
        record: Record,
        rejected_id: int,
        whole: Mapping[str, Any],
        changes: Mapping[str, Any],
    ) -> Answer:
        path = f"/api/v1/rejected-records/{rejected_id}/replay"
        headers = bearer(world.source(record).key)
        return answer_of(world.client.post(path, json=changes, headers=headers))

    def spends(self, outcome: Outcome) -> int:
        """One when it is refused, and one when it is sent once more."""
        return 2

    def counted_as(self, outcome: Outcome) -> list[str]:
        """Only what the source itself has sent is counted."""
        return [CONFLICT if outcome.verdict in {DUPLICATE, CONFLICT} else REJECTED]

    def keeps(self, outcome: Outcome) -> list[str]:
        """Return the code of the first rejection."""
        codes = {ACCEPTED: "unknown_event", DUPLICATE: "idempotency_conflict"}
        return [codes.get(outcome.verdict, outcome.code or "")]

    def adapt(self, outcome: Outcome, record: Record) -> Outcome:
        return replace(outcome, key=GENERATED) if outcome.key is None else outcome


class ReplayPage(Replay):
    """A refused record that is mended and sent once more on its page, by who has sent it."""

    name = "replay page"
    names_id = False

    def _replay(
        self,
        world: World,
        record: Record,
        rejected_id: int,
        whole: Mapping[str, Any],
        changes: Mapping[str, Any],
    ) -> Answer:
        typed = {name: _typed(name, value) for name, value in whole.items() if value is not None}
        typed.setdefault("idempotency_key", f"rejected-{rejected_id}")
        browser = Browser(world, world.source(record))
        return answer_by_page(browser, f"/journal/rejected/{rejected_id}", typed)

    def code(self, outcome: Outcome) -> str | None:
        return None

    def status(self, outcome: Outcome) -> int:
        return 303 if outcome.verdict in {ACCEPTED, DUPLICATE} else 422

    def spends(self, outcome: Outcome) -> int:
        """One when it is refused; who is signed in has no key."""
        return 1


def _typed(name: str, value: Any) -> str:
    return json.dumps(value) if name == "metadata" else str(value)


def _wrong(body: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**body, "event": WRONG_EVENT}


REPLAY_WAYS = [Replay(), ReplayPage()]
