"""`make bench`: each figure beside its limit in the same run, on both databases.

BENCH_PEER_URL names another service that takes usage and makes reports: it is measured in turn
with billtrack. BENCH_BASELINE names the folder of a second checkout of billtrack with its own
.venv: its records and batches are measured in turn, too. Beside the rate stands the CPU time of
each server per request, or per record of a batch. Results are printed as a table and kept in
bench/results as JSON. Choose with `make bench ARGS='records statements'`; ARGS=--full has 10
million records.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import structlog

from bench import baseline, batches, growth, load, outcome, overview, records, statements
from bench.measure import Result
from bench.places import Place, open_place
from bench.run import BASELINE, Run
from tests.services import find_postgres_programs

Measure = Callable[[Place, Run], Iterator[Result]]
MEASURES: dict[str, Measure] = {
    "records": records.measure,
    "batches": batches.measure,
    "growth": growth.measure,
    "statements": statements.measure,
    "overview": overview.measure,
}
REPORTS = "reports"
"""Measured by a program of its own, as a worker and its rendering take part."""

FULL = 10_000_000


def main() -> None:
    """Measure what was asked for; exit with 1 if a goal is missed and --strict was given."""
    asked = _parse()
    run = Run(asked.rounds, asked.seconds, asked.customers, FULL if asked.full else asked.records)
    if run.baseline and (reason := baseline.missing(run.baseline)):
        sys.exit(f"{BASELINE}: {reason}")
    run.note_absences()
    wanted = asked.measures or [*MEASURES, REPORTS]
    found = outcome.Outcome(run, datetime.now(UTC))
    print(found.head())
    for database in _databases(asked.database, run):
        for name in (name for name in MEASURES if name in wanted):
            if name == "records" and (reason := load.missing()):
                run.note(f"{database}: records are left out. {reason}")
                continue
            with open_place(database) as place:
                for result in MEASURES[name](place, run):
                    print(found.add(database, result), flush=True)
    if REPORTS in wanted:
        found.reports = _reports()
    print(found.finish())
    sys.exit(1 if asked.strict and found.misses else 0)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "measures",
        nargs="*",
        choices=[[], *MEASURES, REPORTS],
        metavar="measure",
        help=f"which of {', '.join([*MEASURES, REPORTS])}; all of them if none is named",
    )
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="both")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=3, help="of requests in each round")
    parser.add_argument("--customers", type=int, default=1000)
    parser.add_argument("--records", type=int, default=200_000, help="that statements lie among")
    parser.add_argument("--full", action="store_true", help=f"{FULL:,} records")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a goal is missed")
    return parser.parse_args()


def _databases(asked: str, run: Run) -> list[str]:
    given = "BILLTRACK_TEST_DATABASE_URL" in os.environ
    if asked == "sqlite":
        return ["sqlite"]
    if given or find_postgres_programs() is not None:
        return ["sqlite", "postgresql"] if asked == "both" else ["postgresql"]
    run.note("PostgreSQL is left out: install the Debian package postgresql")
    return ["sqlite"] if asked == "both" else []


def _reports() -> list[str]:
    command = [sys.executable, "-m", "bench.reports"]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        if program.stdout is None:
            raise RuntimeError("the output was asked for")
        for line in program.stdout:
            print(line, end="", flush=True)
            lines.append(line.rstrip())
    if program.returncode:
        lines.append(f"failed with {program.returncode}")
    return lines


if __name__ == "__main__":
    # A line for each request that is made in this process would bury the table. It is set for the
    # whole process, so not in main(), which tests call.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    main()
