"""CONTRIBUTING.md is true to the tree, and short where it promises to be."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PATH = re.compile(r"`([a-z_0-9/.-]+/[a-z_0-9/.-]*)`")
MOST_LINES_OF_WALKS = 40


def test_every_path_it_names_is_there() -> None:
    named = set(PATH.findall(TEXT))
    assert len(named) > 20
    missing = [
        path
        for path in sorted(named)
        if not (ROOT / path).exists() and not (ROOT / "billtrack" / path).exists()
    ]
    assert missing == []


def test_its_picture_shows_the_rooms_in_their_order() -> None:
    rooms = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = rooms["tool"]["importlinter"]["contracts"][0]["layers"]
    wanted = [room.strip() for layer in layers for room in layer.split("|")]
    picture = TEXT.split("```")[1]
    shown = re.findall(rf"│ ({'|'.join(wanted)}) ", picture)
    assert shown == wanted
    folders = {path.name for path in (ROOT / "billtrack").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == {*wanted, "templates", "static"}


def test_the_walks_are_short() -> None:
    walks = TEXT.split("## Three walks")[1].split("## ")[0]
    assert len(walks.strip().splitlines()) <= MOST_LINES_OF_WALKS
