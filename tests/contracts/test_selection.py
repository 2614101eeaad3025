"""What runs once, what runs quickly and what runs longer is chosen as the documentation says."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests import effort
from tests.midnight import MARGIN, until_midnight
from tests.selection import DATABASES, LONGEST, NOT_FAST, TESTS, database_of

ROOT = TESTS.parent
RACES = {"in_threads", "in_processes", "overlapping", "Barrier", "ThreadPoolExecutor", "Thread"}
BOTH_ROOMS = {
    *("billing", "entrypoints/backups", "entrypoints/server/fast_path", "entrypoints/setup"),
    *("platform/jobs", "platform/replica", "privacy", "usage"),
}
"""Rooms of money, stored usage, totals, locks and copies."""

STORES = (
    *("billtrack.entrypoints.backups", "billtrack.privacy", "billtrack.billing.statements"),
    *("billtrack.billing.month_totals", "billtrack.usage.ingest.intake"),
    *("billtrack.usage.records.verification", "tests.usage.racing"),
)
"""Tests that call these directly are about them."""


def once() -> Iterator[tuple[str, ast.Module]]:
    """Give the path below `tests` and the source of each module that is marked `one_database`."""
    for path in TESTS.rglob("test_*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        if any("one_database" in ast.unparse(node) for node in tree.body if _is_mark(node)):
            yield path.relative_to(TESTS).as_posix(), tree


def _is_mark(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"


def names_in(node: ast.AST) -> set[str]:
    return {ast.unparse(n).split(".")[-1] for n in ast.walk(node) if _is_name(n)}


def _is_name(node: ast.AST) -> bool:
    return isinstance(node, ast.Name | ast.Attribute)


def test_races_and_money_run_on_both_databases() -> None:
    assert [room for room in BOTH_ROOMS if not (TESTS / room).is_dir()] == []
    found = []
    for module, tree in once():
        if module.startswith(tuple(f"{room}/" for room in BOTH_ROOMS)):
            found.append(f"{module}: the room keeps both databases")
        avoided = RACES | _imported_from(tree, STORES)
        for node in tree.body:
            if not isinstance(node, ast.FunctionDef):
                continue
            marks = {name for mark in node.decorator_list for name in names_in(mark)}
            if avoided & names_in(node) and "both_databases" not in marks:
                found.append(f"{module}: {node.name} uses {sorted(avoided & names_in(node))}")
    assert found == [], "mark the test both_databases, or take one_database from its module"


def _imported_from(tree: ast.Module, modules: tuple[str, ...]) -> set[str]:
    return {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(modules)
        for alias in node.names
    }


def test_each_database_has_its_share_of_what_runs_once() -> None:
    modules = [module for module, _ in once()]
    for database in DATABASES:
        share = sum(database_of(module) == database for module in modules)
        assert share >= len(modules) // 3, f"{database}: {share} of {len(modules)}"


def collected(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Let pytest list tests, in a process of its own."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_marked_module_runs_once_but_for_what_keeps_both() -> None:
    listed = collected("tests/accounts/users/test_links.py").stdout
    assert listed.count("test_looking_changes_nothing[") == 1
    assert listed.count("test_two_at_once_get_one_password[") == 2
    fast = collected("--fast", "tests/accounts/users/test_links.py").stdout
    assert "postgresql" not in fast
    assert fast.count("test_two_at_once_get_one_password[") == 1


@pytest.mark.slow
def test_effort_repeats_what_chance_decides() -> None:
    listed = collected("tests/accounts/users/test_links.py", BILLTRACK_TEST_EFFORT="3").stdout
    assert listed.count("test_two_at_once_get_one_password[") == 3 * 2
    assert listed.count("test_looking_changes_nothing[") == 1


@pytest.mark.slow
def test_a_wrong_effort_ends_the_run_with_a_sentence() -> None:
    refused = collected("tests/core", BILLTRACK_TEST_EFFORT="ten")
    assert refused.returncode == pytest.ExitCode.USAGE_ERROR
    assert f"{effort.VARIABLE} must be a whole number from 1, not 'ten'" in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "ten", "²"])
def test_effort_is_a_whole_number_from_1(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv(effort.VARIABLE, text)
    with pytest.raises(pytest.UsageError, match="must be a whole number from 1"):
        effort.times(5)


@pytest.mark.parametrize(("text", "count"), [("", 5), ("1", 5), (" 10 ", 50)])
def test_effort_multiplies(monkeypatch: pytest.MonkeyPatch, text: str, count: int) -> None:
    monkeypatch.setenv(effort.VARIABLE, text)
    assert effort.times(5) == count


@pytest.mark.slow
def test_children_hear_signals_that_our_shell_ignores() -> None:
    ignoring = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
test = "tests/entrypoints/test_supervisor.py::test_it_stops_cleanly_when_asked"
os.execv(sys.executable, [sys.executable, "-m", "pytest", "-q", test])
"""
    done = subprocess.run(
        [sys.executable, "-c", ignoring], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def test_no_test_begins_shortly_before_midnight() -> None:
    eve = datetime(2026, 11, 30, 23, 59, 29, tzinfo=UTC)
    assert until_midnight(eve) == MARGIN + timedelta(seconds=1)
    assert until_midnight(eve + timedelta(seconds=31)) == timedelta(days=1)


def test_nothing_asks_hypothesis_for_examples_without_effort() -> None:
    found = []
    for path in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_number = isinstance(node, ast.keyword) and node.arg == "max_examples"
            if is_number and "times(" not in ast.unparse(node):
                found.append(f"{_name(path)}:{getattr(node, 'lineno', 0)}")
    assert found == []


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_what_is_chosen_by_name_is_there() -> None:
    assert [part for part in (*LONGEST, *NOT_FAST) if not (TESTS / part).exists()] == []
