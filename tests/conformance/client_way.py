"""Way by the Python client, which checks records itself and then sends them to a server."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from billtrack_client import Client, Limits, Refused
from werkzeug.serving import make_server

from tests.conformance import hooks
from tests.conformance.outcomes import (
    ACCEPTED,
    CONFLICT,
    DUPLICATE,
    GENERATED,
    REFUSED,
    REJECTED,
    Outcome,
)
from tests.conformance.records import Record
from tests.conformance.ways import Answer, Way
from tests.conformance.world import World

QUICK = Limits(batch_seconds=0.01, timeout=10, longest_wait=0.1)
NOT_SENT = Outcome(REFUSED, 0)
"""The client refuses it by itself: no server has seen it."""

BY_SERVER = frozenset({"year_1999", "year_3000", "metadata_nul", "metadata_line_break"})
"""Bad records that the client leaves to the server."""


class PythonClient(Way):
    """`billtrack_client`: it sends batches, and says of a record only that it is refused."""

    name = "Python client"
    names_id = False
    other_content = ("without_time",)
    _url = ""

    @contextmanager
    def open(self, world: World) -> Iterator[None]:
        server = make_server("127.0.0.1", 0, world.app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self._url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield
        finally:
            server.shutdown()
            thread.join(30)
            server.server_close()

    def send(self, world: World, record: Record) -> Answer:
        refused: list[Refused] = []
        key = world.source(record).key
        with Client(self._url, key, on_refused=refused.append, limits=QUICK) as client:
            try:
                client.record(**_arguments(world.body(record)))
            except (TypeError, ValueError):
                return Answer(REJECTED, None, 0)
            assert client.flush(timeout=30)
        if not refused:
            return Answer(ACCEPTED, None, 200)
        (one,) = refused
        is_conflict = one.code == "idempotency_conflict"
        return Answer(CONFLICT if is_conflict else REJECTED, one.code, 200)

    def verdict(self, outcome: Outcome) -> str:
        """It does not tell what was known from what is new, nor who has refused."""
        return {DUPLICATE: ACCEPTED, REFUSED: REJECTED}.get(outcome.verdict, outcome.verdict)

    def status(self, outcome: Outcome) -> int:
        return 0 if outcome is NOT_SENT else 200

    def spends(self, outcome: Outcome) -> int:
        return 0 if outcome.verdict == REFUSED else 1

    def parts(self, world: World, record: Record, outcome: Outcome) -> frozenset[str]:
        if outcome is NOT_SENT:
            return frozenset()
        is_plain = outcome.is_shaped and outcome.verdict != REFUSED
        return frozenset({hooks.FRAMEWORK, hooks.PLAIN_READER if is_plain else hooks.MODELS})

    def adapt(self, outcome: Outcome, record: Record) -> Outcome:
        if not outcome.is_shaped and record.name not in BY_SERVER:
            return NOT_SENT
        return replace(outcome, key=GENERATED) if outcome.key is None else outcome


def _arguments(body: dict[str, Any]) -> dict[str, Any]:
    values = {"metadata": None, **body}
    if isinstance(values.get("occurred_at"), str):
        with suppress(ValueError):
            values["occurred_at"] = datetime.fromisoformat(values["occurred_at"])
    return values
