"""What the checkout itself must hold: commands, pinned files, no secrets."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HTMX_VERSION = "2.0.11"
TARGETS = (
    *("help", "run", "test", "check", "bench", "e2e", "clean", "lock", "postman", "env"),
    *("docker-test", "soak", "test-fast", "test-long"),
)
BIGGEST_TEXT = 1_000_000

# An example may look like a secret: it says so in its own words.
EXAMPLE = re.compile(r"example|change|generated|your|dummy|test|stub", re.IGNORECASE)
SECRETS = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
    "a billtrack API key": re.compile(r"\bbt_live_[A-Za-z0-9_-]{20,}"),
    "a cloud access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a token of a code host": re.compile(
        r"\b(?:ghp|gho|ghs|glpat|github_pat)[_-][A-Za-z0-9_]{20,}"
    ),
    "a payment key": re.compile(r"\b[sr]k_live_[A-Za-z0-9]{16,}"),
    "a signed token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
    "a password in an address": re.compile(r"\b[a-z]+://[^\s:@/{}$<]+:[^\s:@/{}$<]{8,}@"),
}


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_the_target(target: str) -> None:
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_make_lists_its_targets() -> None:
    answer = subprocess.run(["make"], cwd=ROOT, check=True, capture_output=True, text=True)
    listed = re.findall(r"(?m)^  make ([a-z0-9-]+) ", answer.stdout)
    assert set(listed) == set(TARGETS)


@pytest.mark.parametrize(
    "path", [".ci/run", "scripts/env", "scripts/set-up", "scripts/system-packages"]
)
def test_scripts_can_be_run(path: str) -> None:
    assert os.access(ROOT / path, os.X_OK)
    assert (ROOT / path).read_text(encoding="utf-8").startswith("#!")


def test_htmx_is_pinned_with_its_licence_beside() -> None:
    folder = ROOT / "billtrack" / "static" / "vendor" / "htmx"
    assert f'version:"{HTMX_VERSION}"' in (folder / "htmx.min.js").read_text(encoding="utf-8")
    assert HTMX_VERSION in (folder / "README.md").read_text(encoding="utf-8")
    assert "Zero-Clause BSD" in (folder / "LICENSE").read_text(encoding="utf-8")


def test_fonts_have_their_licence_beside() -> None:
    fonts = (ROOT / "billtrack" / "static" / "fonts").rglob("*.woff2")
    assert all(any(font.parent.glob("LICENSE*")) for font in fonts)


def test_nothing_looks_like_a_secret() -> None:
    found = [
        f"{path}: {what}"
        for path in _kept_files()
        for line in _text(ROOT / path).splitlines()
        for what, pattern in SECRETS.items()
        if pattern.search(line) and not EXAMPLE.search(line)
    ]
    assert found == []


def _kept_files() -> list[str]:
    """Return the files that git keeps or would keep; all but data and tools without git."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if answer.returncode == 0 and answer.stdout:
        return [name for name in answer.stdout.split("\0") if name]
    skipped = {".venv", "instance", ".git"}
    paths = (path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file())
    return [str(path) for path in paths if not skipped & set(path.parts)]


def _text(path: Path) -> str:
    if not path.is_file() or path.stat().st_size > BIGGEST_TEXT:
        return ""
    return path.read_text(encoding="utf-8", errors="ignore")
