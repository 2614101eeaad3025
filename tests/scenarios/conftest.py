"""Installations on both databases for tests with real processes."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.scenarios.harness import Installation, Running, assert_all_end, descendants
from tests.services import PostgresServer, RedisServer, unique_name


@pytest.fixture(params=["sqlite", "postgresql+redis"])
def installation(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installation]:
    """A set-up installation without any process: embedded, then on PostgreSQL and Redis."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "billtrack.db")
        made = Installation(tmp_path)
        yield made
        made.close()
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    queue: RedisServer = request.getfixturevalue("redis")
    template: str = request.getfixturevalue("postgres_template")
    name = unique_name()
    url = server.create_database(name, template=template)
    made = Installation(tmp_path, database_url=url, redis_url=queue.url)
    yield made
    made.close()
    server.drop_database(name)


class Site:
    """A running `billtrack up` with demo data, that a test may stop and start again."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.up = self._start()

    def restart(self) -> None:
        self.up = self._start()

    def _start(self) -> Running:
        up = self.installation.start("up")
        up.wait_for("Press Ctrl-C to stop")
        # One that is just starting misses the signal to stop.
        for number in range(1, self.installation.settings.web_workers + 1):
            up.wait_for(f"Started worker-{number}")
        return up


@pytest.fixture(scope="session", params=["sqlite", "postgresql+redis"])
def site(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("up") / "data"
    with contextlib.ExitStack() as cleaning:
        services = {}
        if request.param != "sqlite":
            database: PostgresServer = request.getfixturevalue("postgres")
            queue: RedisServer = request.getfixturevalue("redis")
            name = unique_name()
            services["database_url"] = database.create_database(name)
            services["redis_url"] = queue.url
            cleaning.callback(database.drop_database, name)
        installation = Installation(folder, **services, BILLTRACK_DEMO="1")
        cleaning.callback(installation.close)
        site = Site(installation)
        yield site
        started = descendants(site.up.pid)
        assert site.up.stop() == 0  # SIGTERM
        assert_all_end(started)
