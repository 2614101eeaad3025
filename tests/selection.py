"""Which tests run, on which database, and how often.

A test that uses `settings` runs on SQLite and on PostgreSQL. A module or test marked

- `one_database` runs once: no SQL that differs by dialect decides what it asserts. Half of such
  modules run on each database, by a hash of their path, so pages still meet both. Tests of money,
  stored usage, totals, locks, races, transactions, migrations, backups and erasure keep both.
- `both_databases` keeps both in a module that is marked `one_database`.
- `by_chance` runs as often as BILLTRACK_TEST_EFFORT says, since a race or the moment of a kill
  decides what it meets.
- `slow` and whatever needs a server or a browser is left out by `--fast`.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.effort import effort

TESTS = Path(__file__).parent
DATABASES = ("sqlite", "postgresql")
SERVERS = {"postgres", "redis", "mortal_redis"}
"""Fixtures that start a server."""

LONGEST = (
    "conformance",
    "browser",
    "scenarios",
    "entrypoints/worker",
    "client",
    "platform/replica",
    "entrypoints/backups",
    "platform/test_pgbouncer.py",
    "entrypoints/setup",
    "presentation/pdf",
    "api",
)
"""What takes longest for a file: begun first, so that all workers of pytest-xdist end together."""

NOT_FAST = (
    *("accounts/access", "api", "billing/month_totals", "browser", "client", "dashboard"),
    *("documents", "entrypoints/backups", "entrypoints/cli", "entrypoints/setup"),
    *("entrypoints/server/test_adapter.py", "entrypoints/test_supervisor.py", "entrypoints/worker"),
    *("platform/replica", "platform/storage", "platform/test_engines.py", "platform/test_logs.py"),
    *("platform/test_pgbouncer.py", "platform/test_proxies.py", "presentation/pdf", "scenarios"),
    *("security", "services", "test_bench.py", "test_services.py"),
)
"""Rooms and modules that `--fast` leaves out: they start processes, or load whole pages."""


def database_of(module: str) -> str:
    """Return the database of a `one_database` module, by its path below this folder."""
    return DATABASES[zlib.adler32(module.encode()) % 2]


def parametrize(metafunc: pytest.Metafunc) -> None:
    """Add the database of a `one_database` test and the rounds of a `by_chance` test."""
    node = metafunc.definition
    if _runs_once(node):
        chosen = "sqlite" if is_fast(metafunc.config) else database_of(_path_of(node))
        if "settings" in metafunc.fixturenames:
            node.add_marker(pytest.mark.parametrize("settings", [chosen], indirect=True))
    if node.get_closest_marker("by_chance") and effort() > 1:
        metafunc.fixturenames.append("chance_round")
        metafunc.parametrize("chance_round", range(effort()), indirect=True)


def _first_of(prefixes: Iterable[str], path: str) -> int | None:
    """Return the place of the first folder or module among `prefixes` that the path is in."""
    found = (
        n for n, prefix in enumerate(prefixes) if path == prefix or path.startswith(f"{prefix}/")
    )
    return next(found, None)


def arrange(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `--fast` leaves out; begin with the files that take longest."""
    if is_fast(config):
        left_out = [item for item in items if _is_left_out(item)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    sizes = Counter(item.path for item in items)

    def order(item: pytest.Item) -> tuple[int, int]:
        place = _first_of(LONGEST, _path_of(item))
        return (len(LONGEST) if place is None else place, -sizes[item.path])

    items.sort(key=order)


def is_fast(config: pytest.Config) -> bool:
    return bool(config.getoption("--fast"))


def _runs_once(node: pytest.Item) -> bool:
    chosen = any("settings" in mark.args[0] for mark in node.iter_markers("parametrize"))
    both = node.get_closest_marker("both_databases")
    once = node.get_closest_marker("one_database")
    return once is not None and both is None and not chosen


def _is_left_out(item: pytest.Item) -> bool:
    return (
        item.get_closest_marker("slow") is not None
        or _first_of(NOT_FAST, _path_of(item)) is not None
        or bool(SERVERS & set(getattr(item, "fixturenames", ())))
        or bool({"postgresql", "redis"} & set(_parameters(item)))
    )


def _parameters(item: pytest.Item) -> list[str]:
    call = getattr(item, "callspec", None)
    return [value for value in call.params.values() if isinstance(value, str)] if call else []


def _path_of(node: pytest.Item) -> str:
    return node.path.relative_to(TESTS).as_posix()
