"""The baseline: a second checkout of billtrack, usually an older commit.

It runs under its own interpreter and is driven by its commands and its API alone. None of its
code is imported here.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.load import Target
from bench.places import open_place

FIND_PACKAGE = "import importlib.util as util; print(util.find_spec('billtrack').origin)"


def missing(folder: Path) -> str | None:
    """Return what to do so that the checkout can be served, or None if it can."""
    if _program(folder).is_file() and _package(folder).is_relative_to(folder.resolve()):
        return None
    # The .venv in a copy of a checkout still loads the code of the original.
    return f"{folder} has no .venv of its own. Make it: cd {folder} && scripts/set-up run"


@contextmanager
def serving(folder: Path | None, database: str) -> Iterator[Target | None]:
    """Serve the checkout, if one is given, with a new database on `sqlite` or `postgresql`."""
    if folder is None:
        yield None
        return
    with open_place(database, [str(_program(folder))]) as place, place.serving() as target:
        yield target


def _program(folder: Path) -> Path:
    return folder.resolve() / ".venv" / "bin" / "billtrack"


def _package(folder: Path) -> Path:
    """Return the file that its Python would import as billtrack, an empty path if none."""
    command = [str(_program(folder).with_name("python")), "-I", "-c", FIND_PACKAGE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Path(done.stdout.strip())
