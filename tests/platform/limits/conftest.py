"""Apps whose settings a test chooses; what is stored does not matter here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from billtrack.platform.config import Settings
from tests.conftest import make_settings
from tests.services import RedisServer, start_redis


@pytest.fixture
def settings(request: pytest.FixtureRequest, sqlite_template: Path, tmp_path: Path) -> Settings:
    """Settings with these changes: `parametrize("settings", [{…}], indirect=True)`."""
    shutil.copy(sqlite_template, tmp_path / "billtrack.db")
    return make_settings(tmp_path, **getattr(request, "param", {}))


@pytest.fixture
def mortal_redis() -> Iterator[RedisServer]:
    """A Redis of this test alone, to be killed."""
    server = start_redis()
    if not isinstance(server, RedisServer):
        pytest.skip("this Redis is not ours to stop")
    yield server
    server.close()
