"""Way by `billtrack usage import`: a file of one line from the command line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from billtrack.entrypoints.cli.usage import import_usage
from tests.conformance import hooks
from tests.conformance.outcomes import ACCEPTED, CONFLICT, DUPLICATE, REFUSED, REJECTED, Outcome
from tests.conformance.page_ways import CsvFile, csv_of
from tests.conformance.records import Record
from tests.conformance.ways import Answer
from tests.conformance.world import World

VERDICTS = (ACCEPTED, DUPLICATE, CONFLICT, REJECTED)
SUMMARY = re.compile(r"Lines: (\d) accepted, (\d) duplicate, (\d) conflict, (\d) rejected\.")


class Command(CsvFile):
    """The command for files of any size; it says why in words, without a code."""

    name = "usage import"

    @contextmanager
    def open(self, world: World) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in world.environment.items():
                patch.setenv(name, value)
            yield

    def send(self, world: World, record: Record) -> Answer:
        file = Path(world.environment["BILLTRACK_DATA_DIR"]) / "usage.csv"
        file.write_bytes(csv_of([world.body(record)]))
        with hooks.closing_apps_of_commands():
            done = CliRunner().invoke(import_usage, [str(file), "--as", world.source(record).email])
        said = SUMMARY.search(done.stdout)
        if said is None:
            assert "may not record usage" in done.output, done.output
            return Answer(REFUSED, None, done.exit_code)
        (verdict,) = (v for v, number in zip(VERDICTS, said.groups(), strict=True) if number != "0")
        return Answer(verdict, None, done.exit_code)

    def code(self, outcome: Outcome) -> str | None:
        return None

    def status(self, outcome: Outcome) -> int:
        """The exit code."""
        return 0 if outcome.verdict in {ACCEPTED, DUPLICATE} else 1

    def parts(self, world: World, record: Record, outcome: Outcome) -> frozenset[str]:
        return frozenset()
