"""Settings about the database are checked before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from billtrack.config import ConfigError, load_settings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATABASE_URL", "BILLTRACK_PGBOUNCER", "BILLTRACK_STATEMENT_SECONDS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BILLTRACK_DATA_DIR", str(tmp_path))


def test_it_goes_without_pgbouncer() -> None:
    settings = load_settings()
    assert (settings.pgbouncer, settings.statement_seconds) == (False, 30)


@pytest.mark.parametrize("seconds", ["0", "3601", "soon"])
def test_it_refuses_a_time_limit_out_of_bounds(
    monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    monkeypatch.setenv("BILLTRACK_STATEMENT_SECONDS", seconds)
    with pytest.raises(ConfigError, match="BILLTRACK_STATEMENT_SECONDS"):
        load_settings()
