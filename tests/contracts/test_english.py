"""Docstrings are plain English: subject, verb, object, and the field's noun."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("billtrack", "bench", "clients", "migrations", "tests")

TO_DO = (
    *("billtrack/accounts", "billtrack/api", "billtrack/billing", "billtrack/core"),
    *("billtrack/dashboard", "billtrack/documents", "billtrack/entrypoints"),
    *("billtrack/notifications", "billtrack/platform", "billtrack/presentation"),
    *("billtrack/privacy", "billtrack/usage", "bench", "clients", "migrations", "tests"),
)
"""Folders whose docstrings are not rewritten yet."""

OPENERS = ("Whoever", "What", "Of", "Where", "Nobody", "So")
"""No sentence begins with these words: they put a relative clause in place of a noun."""

PHRASES = ("anew", "at once", "as it was", "lately", "besides")

SENTENCE = re.compile(rf"(?:^|[.:!?]\s+|\n\n\s*)({'|'.join(OPENERS)})\b")
PHRASE = re.compile(rf"\b({'|'.join(PHRASES)})\b", re.IGNORECASE)


def docstrings(path: Path) -> Iterator[tuple[int, str]]:
    """Give each docstring of the file, also those below attributes, with its line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        for child in node.body:
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                yield child.lineno, str(child.value.value)


def faults_of(text: str) -> list[str]:
    """Return the words in the text that the house style keeps out."""
    return [*SENTENCE.findall(text), *PHRASE.findall(text)]


def test_docstrings_keep_to_the_house_style() -> None:
    paths = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
    assert len(paths) > len(FOLDERS)
    found = [
        f"{path.relative_to(ROOT)}:{line}: {faults}"
        for path in sorted(paths)
        if not path.relative_to(ROOT).as_posix().startswith(TO_DO)
        for line, text in docstrings(path)
        if (faults := faults_of(text))
    ]
    assert found == [], "\n".join(found)


def test_it_finds_each_of_them() -> None:
    for word in OPENERS:
        assert faults_of(f"Return it. {word} it is.") == [word]
        assert faults_of(f"{word} it is.") == [word]
    for phrase in PHRASES:
        assert faults_of(f"Do it {phrase}.") == [phrase]
    assert faults_of("Return what is so, and nobody's.") == []
