"""The same buckets in Redis, for all processes together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from billtrack.core.rates import Rate
from billtrack.platform.limits.buckets import Taken

TIMEOUT_SECONDS = 0.3
"""Rather count alone than let a request wait for longer."""

# By the clock of Redis, the only one that all share. A bucket that would be full is forgotten.
_TAKE = """
local most, seconds = tonumber(ARGV[1]), tonumber(ARGV[2])
local least, at_most = tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local kept = redis.call('HMGET', KEYS[1], 'level', 'at')
local level = tonumber(kept[1]) or most
local gone = math.max(0, now - (tonumber(kept[2]) or now))
level = math.min(most, level + gone * most / seconds)
local needed, given = math.min(least, most), 0
if level >= needed then
  given = math.max(least, math.min(at_most, math.floor(level)))
end
level = level - given
local wait = given > 0 and 0 or (needed - level) * seconds / most
redis.call('HSET', KEYS[1], 'level', string.format('%.6f', level), 'at', string.format('%.6f', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((most - level) * seconds / most * 1000) + 1000)
return {given, string.format('%.6f', level), string.format('%.6f', wait)}
"""


class RedisBuckets:
    """Buckets under a prefix of their own; raises RedisError within TIMEOUT_SECONDS."""

    def __init__(self, url: str, *, prefix: str) -> None:
        self.client = Redis.from_url(
            url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._take = cast("Callable[..., Any]", self.client.register_script(_TAKE))
        self._prefix = prefix

    def take(self, name: str, rate: Rate, *, least: int, at_most: int) -> Taken:
        """Give as much as there is, up to `at_most`; nothing where `least` is not there."""
        arguments = [rate.most, rate.seconds, least, at_most]
        given, left, wait = self._take(keys=[f"{self._prefix}.{name}"], args=arguments)
        return Taken(int(given), float(left), float(wait))
