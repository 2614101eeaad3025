"""Buckets are emptied by spending and filled by time, in memory and in Redis alike."""

from __future__ import annotations

import pytest

from billtrack.core.rates import Rate
from billtrack.platform.limits.buckets import MOST_BUCKETS, Buckets, MemoryBuckets
from billtrack.platform.limits.redis_buckets import RedisBuckets
from tests.scenarios.harness import eventually
from tests.services import RedisServer, unique_name

SLOW = Rate(10, 3600)
FAST = Rate(1000, 1)


@pytest.fixture(params=["memory", "redis"])
def buckets(request: pytest.FixtureRequest) -> Buckets:
    if request.param == "memory":
        return MemoryBuckets()
    return RedisBuckets(request.getfixturevalue("redis").url, prefix=unique_name())


def take(buckets: Buckets, least: int, rate: Rate = SLOW, name: str = "a") -> int:
    return buckets.take(name, rate, least=least, at_most=least).given


def test_it_gives_as_much_as_the_rate_says_and_no_more(buckets: Buckets) -> None:
    assert [take(buckets, 3) for _ in range(4)] == [3, 3, 3, 0]
    assert take(buckets, 1) == 1
    refused = buckets.take("a", SLOW, least=2, at_most=2)
    assert refused.given == 0
    assert 600 < refused.wait <= 720  # two of ten an hour
    assert take(buckets, 10, name="b") == 10


def test_it_gives_more_than_was_asked_for_if_there_is(buckets: Buckets) -> None:
    assert buckets.take("a", SLOW, least=1, at_most=7).given == 7
    taken = buckets.take("a", SLOW, least=1, at_most=7)
    assert taken.given == 3
    assert 0 <= taken.left < 1


def test_it_fills_again(buckets: Buckets) -> None:
    assert take(buckets, 1000, FAST) == 1000
    eventually(lambda: take(buckets, 500, FAST), "half of it within a second")


def test_what_is_larger_than_the_bucket_takes_it_whole_and_is_worked_off(buckets: Buckets) -> None:
    assert take(buckets, 25) == 25
    refused = buckets.take("a", SLOW, least=25, at_most=25)
    assert refused.given == 0
    assert 3600 * 2.4 < refused.wait <= 3600 * 2.5  # fifteen are owed, ten have to be there


def test_it_remembers_only_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    buckets = MemoryBuckets()
    for number in range(MOST_BUCKETS + 1):
        take(buckets, 10, name=str(number))
    assert take(buckets, 1, name=str(MOST_BUCKETS)) == 0
    assert take(buckets, 10, name="0") == 10


def test_a_bucket_in_redis_is_forgotten_once_it_would_be_full(redis: RedisServer) -> None:
    prefix = unique_name()
    shared = RedisBuckets(redis.url, prefix=prefix)
    take(shared, 1000, FAST)
    client = shared.client
    assert 0 < client.pttl(f"{prefix}.a") <= 2100
