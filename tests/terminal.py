"""The command line as somebody at a terminal has it."""

from __future__ import annotations

import io
import multiprocessing
import os
import sys
from dataclasses import dataclass
from functools import cache
from multiprocessing.context import ForkServerContext
from pathlib import Path

from billtrack.entrypoints.cli import main
from tests.conftest import SECRET

SETTINGS = ("BILLTRACK_", "DATABASE_URL", "REDIS_URL", "FLASK_")


@dataclass(frozen=True)
class Result:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    def refuses(self, *words: str) -> bool:
        """Tell whether it said no in one sentence with these words."""
        is_sentence = self.err.startswith("Error: ") and self.err.count("\n") == 1
        return self.code == 1 and is_sentence and all(word in self.err for word in words)


class Terminal:
    """Runs commands as processes of their own, forked from one that has imported billtrack."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._environment = {
            "BILLTRACK_DATA_DIR": str(folder / "data"),
            "BILLTRACK_SECRET_KEY": SECRET.get_secret_value(),
        }

    def run(self, *arguments: str, stdin: str = "", **settings: str) -> Result:
        given = {**self._environment, **settings}
        environment = {name: value for name, value in given.items() if value}
        process = _processes().Process(
            target=_run_command, args=(arguments, environment, self.folder, stdin)
        )
        process.start()
        process.join(60)
        assert process.exitcode is not None, f"{arguments} did not end"
        out, err = ((self.folder / name).read_text() for name in ("out", "err"))
        assert "Traceback" not in out + err, err
        return Result(process.exitcode, out, err)


def _run_command(
    arguments: tuple[str, ...], environment: dict[str, str], folder: Path, stdin: str
) -> None:
    for name in [name for name in os.environ if name.startswith(SETTINGS)]:
        del os.environ[name]
    os.environ.update(environment)
    os.chdir(folder)
    sys.stdin = io.StringIO(stdin)
    sys.argv = ["billtrack", *arguments]
    with Path("out").open("w") as out, Path("err").open("w") as err:
        sys.stdout, sys.stderr = out, err
        main.main()


@cache
def _processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["billtrack.entrypoints.cli.main"])
    return context
