"""Processes count together while there is a Redis, and go on alone while there is none."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from billtrack.core.rates import Rate
from billtrack.platform.limits import limiter as limiter_module
from billtrack.platform.limits.buckets import Taken
from billtrack.platform.limits.budgets import Budget
from billtrack.platform.limits.limiter import Limiter
from billtrack.platform.limits.redis_buckets import RedisBuckets
from tests.scenarios.harness import eventually
from tests.services import RedisServer, unique_name

RATE = Rate(1000, 3600)
DEAD = "redis://127.0.0.1:1/0"


class Silence:
    """A server that lets everybody connect and answers nobody."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._socket.getsockname()[1]}/0"
        self.connections: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections.append(connection)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        for one in (self._socket, *self.connections):
            one.close()


@pytest.fixture
def silence() -> Iterator[Silence]:
    server = Silence()
    yield server
    server.close()


def make(shared: RedisBuckets | None = None, rate: Rate | None = RATE) -> Limiter:
    return Limiter(dict.fromkeys(Budget, rate), shared=shared)


def spend_all(limiter: Limiter, subject: str = "key:1") -> int:
    return sum(limiter.spend(Budget.API, subject, 1) for _ in range(2 * RATE.most))


def test_it_allows_as_many_as_the_rate_says() -> None:
    limiter = make()
    assert spend_all(limiter) == RATE.most
    assert limiter.is_spent(Budget.API, "key:1")
    assert limiter.left(Budget.API, "key:1", RATE) == 0
    assert 0 < limiter.pause(Budget.API, "key:1") <= 3.6
    assert not limiter.is_spent(Budget.API, "key:2")
    assert spend_all(limiter, "key:2") == RATE.most
    assert limiter.spend(Budget.REPORTS, "key:1", 1)


def test_it_limits_nothing_that_is_off() -> None:
    limiter = make(rate=None)
    assert spend_all(limiter) == 2 * RATE.most


def test_threads_get_no_more_together() -> None:
    limiter = make()
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda _: spend_all(limiter), range(8))) == RATE.most


def test_two_processes_get_no_more_together(redis: RedisServer) -> None:
    prefix = unique_name()
    two = [make(RedisBuckets(redis.url, prefix=prefix)) for _ in range(2)]
    allowed = [0, 0]
    for _ in range(RATE.most):
        for number, limiter in enumerate(two):
            allowed[number] += limiter.spend(Budget.API, "key:1", 1)
    assert sum(allowed) == RATE.most
    assert min(allowed) > RATE.most / 3


def test_it_asks_redis_once_for_many(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = RedisBuckets(redis.url, prefix=unique_name())
    asked: list[str] = []
    take = shared.take

    def note_and_take(name: str, rate: Rate, *, least: int, at_most: int) -> Taken:
        asked.append(name)
        return take(name, rate, least=least, at_most=at_most)

    monkeypatch.setattr(shared, "take", note_and_take)
    limiter = make(shared)
    assert spend_all(limiter) == RATE.most
    assert len(asked) == 101  # a hundredth at a time; who is refused is not asked for again


def test_a_large_cost_waits_alone() -> None:
    limiter = make()
    assert limiter.spend(Budget.API, "key:1", 600)
    assert not limiter.spend(Budget.API, "key:1", 500)
    assert limiter.spend(Budget.API, "key:1", 1)


def test_it_goes_on_alone_without_redis(mortal_redis: RedisServer) -> None:
    limiter = make(RedisBuckets(mortal_redis.url, prefix="p"))
    assert limiter.spend(Budget.API, "key:1", 1)
    mortal_redis.kill9()
    assert spend_all(limiter) == 9 + RATE.most  # what it had taken, then its own bucket
    assert limiter.is_spent(Budget.API, "key:1")


def test_it_counts_with_others_again_once_redis_is_back(
    mortal_redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limiter_module, "PAUSE_SECONDS", 0.05)
    limiter, other = (make(RedisBuckets(mortal_redis.url, prefix="p")) for _ in range(2))
    mortal_redis.kill9()
    spend_all(limiter)
    mortal_redis.restart()
    spend_all(other, "key:2")
    eventually(lambda: not limiter.spend(Budget.API, "key:2", 1), "what the other has spent")


def test_a_silent_redis_costs_one_wait(silence: Silence) -> None:
    limiter = make(RedisBuckets(silence.url, prefix="p"))
    assert spend_all(limiter) == RATE.most
    assert len(silence.connections) == 1


def test_only_one_thread_finds_out_whether_redis_is_back(
    silence: Silence, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = make(RedisBuckets(silence.url, prefix="p"))
    limiter.spend(Budget.API, "key:1", 1)
    monkeypatch.setattr(limiter, "_pause_until", 1.0)  # it is over
    before = len(silence.connections)
    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(lambda n: limiter.spend(Budget.API, f"key:{n}", 1), range(8)))
    assert len(silence.connections) == before + 1


def test_it_spends_at_once_only_what_it_holds(redis: RedisServer) -> None:
    buckets = RedisBuckets(redis.url, prefix=unique_name())
    limiter = make(buckets)
    assert not limiter.spend_at_once(Budget.API, "key:1")  # Redis has to be asked first
    assert limiter.spend(Budget.API, "key:1", 1)
    held = RATE.most // limiter_module.PARTS - 1
    assert sum(limiter.spend_at_once(Budget.API, "key:1") for _ in range(2 * held)) == held


@pytest.mark.parametrize("shared", [True, False])
def test_it_takes_back_what_was_spent(redis: RedisServer, *, shared: bool) -> None:
    limiter = make(RedisBuckets(redis.url, prefix=unique_name()) if shared else None)
    spent = spend_all(limiter)
    assert spent >= RATE.most
    limiter.give_back(Budget.API, "key:1")
    assert limiter.spend_at_once(Budget.API, "key:1")
    assert not limiter.spend_at_once(Budget.API, "key:1")
