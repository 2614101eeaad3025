"""Ways for many records in a request: batches of each kind, and CloudEvents."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from werkzeug.test import TestResponse

from tests.conformance import hooks
from tests.conformance.outcomes import ACCEPTED, CONFLICT, DUPLICATE, REFUSED, REJECTED, Outcome
from tests.conformance.records import Record
from tests.conformance.ways import Answer, Beside, Way, bearer
from tests.conformance.world import BATCH, World

CLOUD_EVENTS = "application/cloudevents-batch+json"
ORIGIN = "/conformance"
MANY = 500


class Batch(Way):
    """POST /usage/batch with nothing but the record."""

    name = "batch of one"
    place = 0
    """How many good records stand before it."""
    query = ""

    def send(self, world: World, record: Record) -> Answer:
        good = world.neighbours(self.beside.good)
        bad = [None] * self.beside.bad
        sent = [*good[: self.place], world.body(record), *good[self.place :], *bad]
        return self._read(self._post(world, record, json.dumps({"records": sent})))

    def status(self, outcome: Outcome) -> int:
        return outcome.status if outcome.verdict == REFUSED else 200

    def spends(self, outcome: Outcome) -> int:
        """One for each record of a batch, once it is known who sends it."""
        return 0 if outcome.verdict == REFUSED else 1 + self.beside.good + self.beside.bad

    def parts(self, world: World, record: Record, outcome: Outcome) -> frozenset[str]:
        if outcome.verdict == REFUSED:
            return self._parts_of_refused(outcome)
        is_plain = outcome.is_shaped and not self.beside.bad
        return frozenset({hooks.FRAMEWORK, hooks.PLAIN_READER if is_plain else hooks.MODELS})

    def _parts_of_refused(self, outcome: Outcome) -> frozenset[str]:
        # How many records there are has to be known before they are charged.
        reader = {429: hooks.MODELS if self.beside.bad else hooks.PLAIN_READER, 400: hooks.MODELS}
        read = reader.get(outcome.status)
        return frozenset({hooks.FRAMEWORK, *([read] if read else [])})

    def _post(
        self, world: World, record: Record, body: str, content_type: str = "application/json"
    ) -> TestResponse:
        return world.client.post(
            BATCH + self.query,
            data=body,
            content_type=content_type,
            headers=bearer(world.source(record).key),
        )

    def _read(self, response: TestResponse) -> Answer:
        body, status = response.get_json(), response.status_code
        if status != 200:
            return Answer(REFUSED, body.get("code"), status)
        results: Sequence[dict[str, Any]] = body["results"]
        for place, one in enumerate(results):
            assert one["index"] == place
        mine = results[self.place]
        others = [one["status"] for one in results if one is not mine]
        assert others == [ACCEPTED] * self.beside.good + [REJECTED] * self.beside.bad, others
        return Answer(mine["status"], mine["code"], status, mine["id"])


class PlainBatch(Batch):
    """The record among good ones: the quick reader takes the batch if the record is shaped."""

    name = "batch, plain reader"
    beside = Beside(good=2)
    place = 1


class ModelBatch(Batch):
    """The record among good ones and one that is no record: the models read all of them."""

    name = "batch, models"
    beside = Beside(good=2, bad=1)
    place = 1


class WholeBatch(Batch):
    """All or nothing: a refused record stops its good neighbour and is not kept."""

    name = "batch, all or nothing"
    beside = Beside(good=1)
    query = "?on_error=reject"

    def code(self, outcome: Outcome) -> str | None:
        """It names the places of what is refused, not the codes."""
        return outcome.code if outcome.verdict == REFUSED else None

    def keeps(self, outcome: Outcome) -> list[str]:
        """The sender has all of it, and sends all of it again."""
        return []

    def status(self, outcome: Outcome) -> int:
        if outcome.verdict in {ACCEPTED, DUPLICATE}:
            return 200
        return outcome.status if outcome.verdict == REFUSED else 422

    def verdict(self, outcome: Outcome) -> str:
        return REJECTED if outcome.verdict == CONFLICT else outcome.verdict

    def good_stored(self, outcome: Outcome) -> int:
        return self.beside.good if outcome.verdict in {ACCEPTED, DUPLICATE} else 0

    def _read(self, response: TestResponse) -> Answer:
        body = response.get_json()
        if response.status_code != 422:
            return super()._read(response)
        assert body["code"] == "batch_refused", body
        assert [one["field"].split(".")[1] for one in body["errors"]] == ["0"], body
        return Answer(REJECTED, None, 422)


class LargeBatch(Batch):
    """The record among so many good ones that they are stored by COPY."""

    name = "large batch"
    beside = Beside(good=MANY)
    place = 100

    def parts(self, world: World, record: Record, outcome: Outcome) -> frozenset[str]:
        found = super().parts(world, record, outcome)
        return found if outcome.verdict == REFUSED else found | {hooks.LARGE}


class CloudEvents(Batch):
    """POST /usage/batch with the record as a CloudEvent."""

    name = "CloudEvents"
    origin = ORIGIN
    compares_hash = False  # the source of an event is a part of its key

    def send_earlier(self, world: World, record: Record, fields: Mapping[str, Any]) -> None:
        response = world.client.post(
            BATCH,
            data=json.dumps([_event(world.body(record, fields))]),
            content_type=CLOUD_EVENTS,
            headers=bearer(world.source(record).spare_key),
        )
        assert response.get_json()["accepted"] == 1, response.get_data(as_text=True)

    def send(self, world: World, record: Record) -> Answer:
        event = json.dumps([_event(world.body(record))])
        return self._read(self._post(world, record, event, CLOUD_EVENTS))

    def parts(self, world: World, record: Record, outcome: Outcome) -> frozenset[str]:
        return frozenset({hooks.FRAMEWORK})


def _event(body: dict[str, Any]) -> dict[str, Any]:
    said = dict(body)
    data = dict(said.pop("metadata", None) or {})
    if "quantity" in said:
        data["quantity"] = said.pop("quantity")
    user, kind = said.pop("user_id", None), said.pop("event", None)
    return {
        "specversion": "1.0",
        "source": ORIGIN,
        **({"subject": str(user)} if user is not None else {}),
        **({"type": f"com.example.{kind}" if isinstance(kind, str) else kind} if kind else {}),
        **({"time": said["occurred_at"]} if "occurred_at" in said else {}),
        **({"id": said["idempotency_key"]} if "idempotency_key" in said else {}),
        "data": data,
    }


BATCH_WAYS = [Batch(), PlainBatch(), ModelBatch(), WholeBatch(), LargeBatch(), CloudEvents()]
