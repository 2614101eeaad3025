"""The queue that carries the numbers of jobs."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from billtrack.platform.extensions import make_huey
from tests.conftest import make_settings
from tests.services import RedisServer


def test_installations_on_one_redis_do_not_hear_each_other(
    redis: RedisServer, tmp_path: Path
) -> None:
    def queue(secret: str) -> int:
        settings = make_settings(
            tmp_path, redis_url=SecretStr(redis.url), secret_key=SecretStr(secret)
        )
        huey = make_huey(settings)
        heard = int(huey.pending_count())
        huey.storage.enqueue(b"a number")
        return heard

    one, another = "a secret of one installation....", "a secret of another one........."
    assert [queue(secret) for secret in (one, another, one)] == [0, 0, 1]
