"""One record in a request: posted under a key, with its rollup; and read by its id.

Beside an empty Flask route under the same server settings, and beside the peer, which is sent
the very same requests.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from sqlalchemy import func, select

from bench.load import WARM_SECONDS, Load, Target, get_records, post_records
from bench.measure import Result, Round, alternate
from bench.places import Place, memory
from bench.run import Run
from billtrack.extensions import db
from billtrack.usage.models import UsageRecord

POSTS = (
    ("record, 32 connections, many users", 32, None, 1.4),
    ("record, 32 connections, one user", 32, 1, 1.4),
    ("record, 1 connection", 1, None, 1.2),
)
GET_GOAL = 1.5
Send = Callable[[Target], Load]


def measure(place: Place, run: Run) -> Iterator[Result]:
    """Yield each kind of request."""
    peer = run.peer if place.database == "postgresql" else None
    with place.serving() as web, place.empty_route() as empty:
        before = memory(web)
        for target in filter(None, (place.target, empty, peer)):
            post_records(target, connections=8, seconds=WARM_SECONDS)
        for name, connections, users, goal in POSTS:
            send = partial(post_records, connections=connections, users=users, seconds=run.seconds)
            yield _result(name, send, (place.target, empty, peer), goal, run)
        readable = Target(place.target.url, (), place.provider.key, records=_count(place))
        send = partial(get_records, connections=32, seconds=run.seconds)
        yield _result("record by id, 32 connections", send, (readable, empty, peer), GET_GOAL, run)
        run.note(f"{place.database}: web server {before:.0f} MiB before, {memory(web):.0f} after")


def _result(
    name: str, send: Send, targets: tuple[Target, Target, Target | None], goal: float, run: Run
) -> Result:
    ours: list[Load] = []
    peers: list[Load] = []
    figure, limit, peer = targets
    taken = alternate(
        run.rounds,
        _noting(send, figure, ours),
        _noting(send, limit, []),
        _noting(send, peer, peers) if peer else None,
    )
    return Result(
        name, "/s", taken[0], "an empty route", taken[1], taken[2],
        peer_goal=goal, more={**_latencies("", ours), **_latencies("peer ", peers)},
    )  # fmt: skip


def _noting(send: Send, target: Target, loads: list[Load]) -> Round:
    def once() -> float:
        loads.append(send(target))
        return loads[-1].rate

    return once


def _latencies(whose: str, loads: list[Load]) -> dict[str, float]:
    if not loads:
        return {}
    middle = sorted(loads, key=lambda load: load.rate)[len(loads) // 2]
    return {f"{whose}p50 ms": middle.p50, f"{whose}p99 ms": middle.p99}


def _count(place: Place) -> int:
    # Ids are given without gaps but where a group was tried again, at a key used by another.
    with place.site.inside():
        return db.session.scalar(select(func.count()).select_from(UsageRecord)) or 0
