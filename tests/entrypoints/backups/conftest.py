"""A full installation on each database, backups of it, and an empty one to restore into."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apiflask import APIFlask

from billtrack.entrypoints.app import create_app
from billtrack.platform.config import Settings
from billtrack.platform.extensions import db
from tests.conftest import make_settings
from tests.entrypoints.backups.worlds import Take
from tests.services import PostgresServer, find_postgres_programs, unique_name


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pg_dump and pg_restore be those of the server."""
    if folder := find_postgres_programs():
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def full_disk() -> Iterator[Callable[[], None]]:
    """Let every file of this process end at 20,000 bytes from a moment on."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture
def take(app: APIFlask, tmp_path: Path) -> Take:
    return Take(app, tmp_path)


@pytest.fixture
def empty(settings: Settings, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[APIFlask]:
    """An app beside an empty database of the same kind; no context is open for it."""
    folder = tmp_path / "empty"
    folder.mkdir(mode=0o700)
    changes, server, name = {}, None, unique_name()
    if settings.database_url is not None:
        server = request.getfixturevalue("postgres")
        assert isinstance(server, PostgresServer)
        changes["database_url"] = server.create_database(name)
    app = create_app(make_settings(folder, **changes))
    yield app
    with app.app_context():
        db.session.remove()
        db.engine.dispose()
    if server is not None:
        server.drop_database(name)
