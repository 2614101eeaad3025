"""One record in a request: posted under a key, with its rollup; and read by its id.

Beside an empty Flask route under the same server settings. The baseline and the peer get the
same requests.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from bench import baseline
from bench.cpu import metered
from bench.load import WARM_SECONDS, Target, get_records, post_records
from bench.measure import Result, Round, Sample, alternate
from bench.places import Place, memory
from bench.run import Run

PEER_GOAL = 1.9
"""Lowest ratio to the peer at 32 connections."""

POSTS = (
    ("record, 32 connections, many users", 32, None, PEER_GOAL),
    ("record, 32 connections, one user", 32, 1, PEER_GOAL),
    ("record, 1 connection", 1, None, 1.2),
)
GET_GOAL = 1.5
Send = Callable[[Target], Sample]


@dataclass(frozen=True, slots=True)
class Targets:
    """Servers that get the same requests."""

    figure: Target
    limit: Target
    baseline: Target | None
    peer: Target | None

    def readable(self) -> Targets:
        """Return them with the number of records that both billtracks hold."""
        before = self.baseline and replace(self.baseline, records=_count(self.baseline))
        ours = replace(self.figure, records=_count(self.figure))
        return replace(self, figure=ours, baseline=before)


def measure(place: Place, run: Run) -> Iterator[Result]:
    """Yield each kind of request."""
    peer = run.peer if place.database == "postgresql" else None
    with (
        place.serving() as web,
        place.empty_route() as empty,
        baseline.serving(run.baseline, place.database) as before,
    ):
        targets = Targets(web, empty, before, peer)
        began_with = memory(web)
        for target in filter(None, (web, empty, before, peer)):
            post_records(target, connections=8, seconds=WARM_SECONDS)
        for name, connections, users, goal in POSTS:
            send = partial(post_records, connections=connections, users=users, seconds=run.seconds)
            yield _result(name, send, targets, goal, run)
        send = partial(get_records, connections=32, seconds=run.seconds)
        yield _result("record by id, 32 connections", send, targets.readable(), GET_GOAL, run)
        held = f"web server {began_with:.0f} MiB before, {memory(web):.0f} after"
        run.note(f"{place.database}: {held}")


def _result(name: str, send: Send, targets: Targets, goal: float, run: Run) -> Result:
    def sending(target: Target) -> Round:
        return metered(lambda: send(target), target)

    figure, limit, before, peer = alternate(
        run.rounds,
        sending(targets.figure),
        sending(targets.limit),
        baseline=sending(targets.baseline) if targets.baseline else None,
        peer=sending(targets.peer) if targets.peer else None,
    )
    return Result(name, "/s", figure, "an empty route", limit, before, peer, peer_goal=goal)


def _count(target: Target) -> int:
    """Record one more and return its id, which is how many there are.

    Ids are given without gaps but where a group was tried again, at a key used by another.
    """
    body = {"quantity": 1, "event": "api_calls", "user_id": target.users[0]}
    url = f"{target.url}/api/v1/usage/"
    request = urllib.request.Request(url, json.dumps(body).encode(), dict(target.headers))
    with urllib.request.urlopen(request, timeout=20) as answer:
        return int(json.load(answer)["id"])
