"""Secrets are made where none is given, and what stands in examples is refused."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from billtrack.platform.config import ConfigError, load_settings
from billtrack.platform.secrets import read_or_make

RANDOM = "n0t-a-r3al-k3y_but-qu1te-as-l0ng-XZ"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("BILLTRACK_SECRET_KEY", "BILLTRACK_SECRET_KEY_FILE", "BILLTRACK_METRICS_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("BILLTRACK_DATA_DIR", str(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        *("change-me", "change-me-" * 5, "changeme" * 5, "CHANGE_ME_" * 4, "too-sh0rt"),
        *("your-secret-key-here-please-change-this", "secret-secret-secret-secret-secret"),
        *("a" * 40, "0" * 40, "abcabc" * 8, "example secret key for development " * 2),
        *("super-secret-key-change-me-in-production", "insert your random secret string here"),
    ],
)
@pytest.mark.parametrize("name", ["BILLTRACK_SECRET_KEY", "BILLTRACK_METRICS_TOKEN"])
def test_it_refuses_what_examples_say(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv("BILLTRACK_SECRET_KEY", RANDOM)
    monkeypatch.setenv(name, text)
    with pytest.raises(ConfigError, match=f"{name}.*random characters") as refused:
        load_settings()
    assert text not in refused.value.detail


def test_it_takes_a_random_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BILLTRACK_SECRET_KEY", RANDOM)
    assert load_settings().secret_key is not None
    assert not (tmp_path / "secret_key").exists()


def test_it_makes_one_for_its_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        secret = load_settings().secret_key
    finally:
        os.umask(before)
    assert secret is not None
    file = tmp_path / "secret_key"
    assert file.read_text() == secret.get_secret_value()
    assert len(secret.get_secret_value()) >= 64
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert load_settings().secret_key == secret


def test_all_that_start_at_once_use_the_same(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: read_or_make(tmp_path / "key"), range(16)))
    assert len(made) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
