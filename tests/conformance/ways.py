"""Base class of the ways for usage into billtrack, and their answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from werkzeug.test import TestResponse

from tests.conformance import hooks
from tests.conformance.outcomes import (
    ACCEPTED,
    CONFLICT,
    DUPLICATE,
    REFUSED,
    REJECTED,
    Outcome,
)
from tests.conformance.records import Record
from tests.conformance.world import USAGE, World


@dataclass(frozen=True)
class Answer:
    """Answer for a record: verdict and code, and the status of the request.

    A code that the way does not name is None. `record_id` is None where the way does not say it.
    """

    verdict: str
    code: str | None
    status: int
    record_id: int | None = None


@dataclass(frozen=True)
class Beside:
    """Numbers of good and bad neighbours in the same request."""

    good: int = 0
    bad: int = 0


class Way:
    """Way for usage into billtrack. The defaults are those of the route for one record."""

    name = ""
    beside = Beside()
    names_id = True
    origin: str | None = None
    compares_hash = True
    other_content: tuple[str, ...] = ()
    """Records to which the way adds something, so that their fingerprints are others."""
    watched = hooks.PARTS

    @contextmanager
    def open(self, world: World) -> Iterator[None]:
        """Stand ready for sending."""
        yield

    def send_earlier(self, world: World, record: Record, fields: Mapping[str, Any]) -> None:
        """Send what is sent before the record, by another key of the sender."""
        headers = bearer(world.source(record).spare_key)
        answer = world.client.post(USAGE, json=world.body(record, fields), headers=headers)
        assert answer.status_code == 201, answer.get_data(as_text=True)

    def send(self, world: World, record: Record) -> Answer:
        """Send the record and return what is answered."""
        raise NotImplementedError

    def status(self, outcome: Outcome) -> int:
        """Return the status that this way has for the outcome."""
        return outcome.status

    def verdict(self, outcome: Outcome) -> str:
        """Return the verdict that this way has a word for."""
        return outcome.verdict

    def code(self, outcome: Outcome) -> str | None:
        """Return the code that this way names."""
        return outcome.code

    def good_stored(self, outcome: Outcome) -> int:
        """Return how many good neighbours have to be stored."""
        return 0 if outcome.verdict == REFUSED else self.beside.good

    def spends(self, outcome: Outcome) -> int:
        """Return the budget that the API key spends: one for each request."""
        return 0 if outcome.status in {401, 429} else 1

    def counted_as(self, outcome: Outcome) -> list[str]:
        """Return the counts of the source to which the record adds one."""
        if not outcome.is_counted:
            return []
        is_late = outcome.verdict == ACCEPTED and outcome.is_late
        return [outcome.verdict, *(["late"] if is_late else [])]

    def keeps(self, outcome: Outcome) -> list[str]:
        """Return the codes of the rejections that are kept to be sent once more."""
        return [outcome.code] if outcome.verdict in {CONFLICT, REJECTED} and outcome.code else []

    def parts(self, world: World, record: Record, outcome: Outcome) -> frozenset[str]:
        """Return exactly the watched parts that have to be at work."""
        return frozenset({hooks.FRAMEWORK})

    def adapt(self, outcome: Outcome, record: Record) -> Outcome:
        """Return the outcome with the additions of this way."""
        return outcome


def bearer(key: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}", **more}


VERDICTS = {200: DUPLICATE, 201: ACCEPTED, 409: CONFLICT, 422: REJECTED}


def answer_of(response: TestResponse) -> Answer:
    """Read an answer of a route for one record."""
    body: Mapping[str, Any] = response.get_json()
    verdict = VERDICTS.get(response.status_code, REFUSED)
    return Answer(verdict, body.get("code"), response.status_code, body.get("id"))
