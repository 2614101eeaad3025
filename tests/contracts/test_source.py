"""What the house style asks of every file, as far as a machine can see it."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "billtrack"
EXACT_ROOMS = ("core", "billing")
MOST_LINES = 300

# Longer than MOST_LINES, each with its reason.
LONG_FILES: dict[str, str] = {}

HEX_COLOUR = re.compile(r"(?<![&\w])#(?:[0-9a-fA-F]{8}|[0-9a-fA-F]{6}|[0-9a-fA-F]{3,4})\b")
INLINE = {
    "a style attribute": re.compile(r"<[^>]*\sstyle\s*=", re.IGNORECASE),
    "an event attribute": re.compile(r"<[^>]*\son[a-z]+\s*=", re.IGNORECASE),
    "a style element": re.compile(r"<style\b", re.IGNORECASE),
    "a script with a body": re.compile(
        r"<script\b(?![^>]*\btype=\"application/json\")[^>]*>\s*[^<\s]", re.IGNORECASE
    ),
    "a javascript: address": re.compile(r"javascript:", re.IGNORECASE),
}


def test_only_db_commits() -> None:
    found = list(_lines(PACKAGE.rglob("*.py"), re.compile(r"\.commit\(")))
    assert {at.split(":")[0] for at in found} == {"billtrack/platform/db.py"}, found


def test_no_column_holds_floats() -> None:
    models = [path for path in PACKAGE.rglob("*.py") if "models" in path.stem]
    migrations = list((ROOT / "migrations").rglob("*.py"))
    wrong = re.compile(
        r"\b(Float|FLOAT|REAL|Double|DOUBLE|DOUBLE_PRECISION)\b|Mapped\[[^\]]*\bfloat\b"
        r"|asdecimal\s*=\s*False"
    )
    assert models
    assert list(_lines([*models, PACKAGE / "platform" / "db.py", *migrations], wrong)) == []


def test_prices_are_computed_without_floats() -> None:
    found = []
    exact = [path for room in EXACT_ROOMS for path in (PACKAGE / room).rglob("*.py")]
    assert len(exact) > len(EXACT_ROOMS)
    for path in exact:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_name = isinstance(node, ast.Name) and node.id == "float"
            is_number = isinstance(node, ast.Constant) and isinstance(node.value, float)
            if is_name or is_number:
                found.append(f"{_name(path)}:{getattr(node, 'lineno', 0)}")
    assert found == []


def test_every_exception_from_a_rule_of_safety_is_explained() -> None:
    silent = re.compile(r"# noqa: [A-Z0-9, ]*\bS[0-9]{3}[A-Z0-9, ]*$")
    whole_files = re.compile(r"# ruff: noqa(?!: [A-RT-Z])|# nosec")
    folders = (PACKAGE, ROOT / "migrations", ROOT / "clients")
    paths = [path for folder in folders for path in folder.rglob("*.py")]
    assert list(_lines(paths, silent)) == []
    assert list(_lines(paths, whole_files)) == []


def test_files_stay_short() -> None:
    lengths = {
        _name(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
    }
    long = {name for name, length in lengths.items() if length > MOST_LINES}
    assert long == set(LONG_FILES), (
        "split it, or list it here with the reason; delist what is short"
    )


def test_templates_have_nothing_inline() -> None:
    templates = list((PACKAGE / "templates").rglob("*.html"))
    assert templates
    for what, pattern in INLINE.items():
        found = [
            f"{_name(path)}: {match[0]!r}"
            for path in templates
            if "mail" not in path.parts  # letters are read without our style sheets
            for match in pattern.finditer(path.read_text(encoding="utf-8"))
        ]
        assert found == [], f"{what}: the Content-Security-Policy forbids it"


def test_style_sheets_use_tokens() -> None:
    sheets = list((PACKAGE / "static" / "css").rglob("*.css"))
    assert sheets
    assert list(_lines(sheets, re.compile("!important"))) == []
    others = [path for path in sheets if path.name != "tokens.css"]
    templates = [
        path for path in (PACKAGE / "templates").rglob("*.html") if "mail" not in path.parts
    ]
    assert list(_lines(others, HEX_COLOUR)) == []
    assert list(_lines(templates, re.compile(r"(?:fill|stroke|color)=\"#[0-9a-fA-F]{3,8}\""))) == []


def test_every_room_says_what_it_owns() -> None:
    silent = []
    for path in PACKAGE.glob("*/__init__.py"):
        text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if len([line for line in text.splitlines() if line.strip()]) < 2:
            silent.append(_name(path))
    assert silent == []


def test_requirements_agree_with_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    runtime, dev = _pins("requirements.txt"), _pins("requirements-dev.txt")
    _assert_satisfied(project["dependencies"], runtime)
    _assert_satisfied(project["dependencies"] + project["optional-dependencies"]["dev"], dev)
    assert {name: dev.get(name) for name in runtime} == runtime


def test_every_requirement_has_a_hash_and_a_version() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text(encoding="utf-8")
        blocks = re.split(r"\n(?=[a-z0-9])", re.sub(r"(?m)^#.*\n", "", text))
        assert all("==" in block and "--hash=sha256:" in block for block in blocks)
        assert "://" not in re.sub(r"(?m)^\s*#.*$", "", text), "no address of an index or a file"


def _pins(file: str) -> dict[str, str]:
    """Return name → version of a locked file. A name may have several, by platform."""
    text = (ROOT / file).read_text(encoding="utf-8")
    return dict(re.findall(r"(?m)^([a-z0-9][a-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", text))


def _assert_satisfied(requirements: list[str], pins: dict[str, str]) -> None:
    for requirement in map(Requirement, requirements):
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement} is not locked: make lock"
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}"


def _lines(paths: Iterable[Path], pattern: re.Pattern[str]) -> Iterable[str]:
    for path in sorted(paths):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if pattern.search(line):
                yield f"{_name(path)}:{number}: {line.strip()}"


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
