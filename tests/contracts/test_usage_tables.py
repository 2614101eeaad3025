"""Who touches the tables of usage. They are to be cut by arrival and by user one day.

So each statement on them is known: a new file belongs into this list, once its statements name the
user, or an id, and need no other table's row for each of theirs.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "billtrack"
MODELS = {
    "UsageRecord": "usage_records",
    "UsageKey": "usage_keys",
    "UsageDaily": "usage_daily",
    "UsageMonthly": "usage_monthly",
}
STORE = {f"usage/ingest/store/{name}.py" for name in ("postgresql", "postgresql_copy", "sqlite")}
LOOK_UPS = {f"usage/ingest/store/{name}_lookup.py" for name in ("postgresql", "sqlite")}
USED = {
    "usage_records": {
        *STORE,
        "entrypoints/backups/totals.py",
        "privacy/personal_data.py",
        "entrypoints/setup/demo_sources.py",
        "usage/erasure.py",
        "usage/records/lookup.py",
        "usage/records/models.py",
        "usage/records/queries.py",
        "usage/reconciliation/stored.py",
        "usage/records/rollups.py",
    },
    "usage_keys": {*STORE, *LOOK_UPS, "usage/records/models.py"},
    "usage_daily": {
        *STORE,
        "entrypoints/backups/totals.py",
        "privacy/personal_data.py",
        "privacy/losses.py",
        "billing/month_totals/reading.py",
        "usage/records/models.py",
        "usage/records/months.py",
        "usage/records/queries.py",
        "usage/records/rollups.py",
    },
    "usage_monthly": {
        *STORE,
        *LOOK_UPS,
        "usage/records/models.py",
        "usage/records/months.py",
    },
}


def strings(tree: ast.AST) -> list[str]:
    """Return the texts of a file but for what is said about it."""
    said = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    return [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in said
    ]


def tables_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "billtrack.usage.records.models"
        for alias in node.names
    }
    named = {
        table for text in strings(tree) for table in USED if re.search(rf"(?<!_){table}\b", text)
    }
    return named | {table for model, table in MODELS.items() if model in imported}


@pytest.mark.parametrize("table", USED)
def test_each_file_that_touches_a_table_of_usage_is_known(table: str) -> None:
    found = {str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py") if table in tables_of(path)}
    assert found == USED[table]


def test_no_statement_looks_keys_or_days_up_for_each_row_of_another() -> None:
    texts = [text for path in ROOT.rglob("*.py") for text in strings(ast.parse(path.read_text()))]
    lateral = [text.partition("LATERAL")[2] for text in texts if "LATERAL" in text]
    assert len(lateral) >= 3
    assert [text for text in lateral if "usage_keys" in text or "usage_daily" in text] == []
