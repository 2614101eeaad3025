"""Settings about the database are checked before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from billtrack.platform.config import ConfigError, load_settings

PRIMARY, REPLICA = "postgresql://u:hush@primary/d", "postgresql://u:hush@replica/d"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("DATABASE_URL", "DATABASE_REPLICA_URL", "BILLTRACK_PGBOUNCER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("BILLTRACK_STATEMENT_SECONDS", raising=False)
    monkeypatch.setenv("BILLTRACK_DATA_DIR", str(tmp_path))


def test_it_goes_without_replica_and_pgbouncer() -> None:
    settings = load_settings()
    assert settings.sqlalchemy_replica_url is None
    assert (settings.pgbouncer, settings.statement_seconds) == (False, 30)


def test_it_takes_a_replica_of_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", PRIMARY)
    monkeypatch.setenv("DATABASE_REPLICA_URL", REPLICA)
    monkeypatch.setenv("BILLTRACK_PGBOUNCER", "1")
    monkeypatch.setenv("BILLTRACK_STATEMENT_SECONDS", "5")
    settings = load_settings()
    assert settings.sqlalchemy_replica_url == "postgresql+psycopg://u:hush@replica/d"
    assert (settings.pgbouncer, settings.statement_seconds) == (True, 5)
    assert "hush" not in str(settings.model_dump(mode="json"))


@pytest.mark.parametrize(
    ("primary", "replica"),
    [("", REPLICA), ("sqlite:///x.db", REPLICA), (PRIMARY, "sqlite:///x.db"), (PRIMARY, "mysql:")],
)
def test_it_refuses_a_replica_of_anything_else(
    monkeypatch: pytest.MonkeyPatch, primary: str, replica: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", primary)
    monkeypatch.setenv("DATABASE_REPLICA_URL", replica)
    with pytest.raises(ConfigError, match=r"DATABASE_REPLICA_URL: .*postgresql://") as refused:
        load_settings()
    assert "hush" not in refused.value.detail


@pytest.mark.parametrize(
    ("url", "said", "processes"),
    [
        ("", None, 1),
        ("sqlite:///x.db", None, 1),
        ("", "3", 3),
        (PRIMARY, None, 2),
        ("postgres://db/b", None, 2),
        (PRIMARY, "1", 1),
    ],
)
def test_it_runs_one_web_process_where_one_writes_at_a_time(
    monkeypatch: pytest.MonkeyPatch, url: str, said: str | None, processes: int
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    if said is not None:
        monkeypatch.setenv("BILLTRACK_WEB_WORKERS", said)
    assert load_settings().web_workers == processes


@pytest.mark.parametrize("seconds", ["0", "3601", "soon"])
def test_it_refuses_a_time_limit_out_of_bounds(
    monkeypatch: pytest.MonkeyPatch, seconds: str
) -> None:
    monkeypatch.setenv("BILLTRACK_STATEMENT_SECONDS", seconds)
    with pytest.raises(ConfigError, match="BILLTRACK_STATEMENT_SECONDS"):
        load_settings()
