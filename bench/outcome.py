"""The table on the screen and the JSON file of a run."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import statistics
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.load import PROGRAM
from bench.measure import Result, Rounds
from bench.places import WEB_WORKERS
from bench.run import Run

RESULTS = Path(__file__).with_name("results")
PACKAGES = ("flask", "granian", "sqlalchemy", "psycopg", "weasyprint")


@dataclass(slots=True)
class Outcome:
    """What a run has found so far."""

    run: Run
    started_at: datetime
    load_before: Sequence[float] = field(default_factory=os.getloadavg)
    figures: list[dict[str, Any]] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)
    misses: list[str] = field(default_factory=list)

    def head(self) -> str:
        """Return what the run is and the head of the table."""
        columns = f"{'':<53}{'figure':>12} {'unit':<4}{'p50':>7}{'p99':>8}{'CPU µs':>8}"
        columns += f"{'PostgreSQL µs':>17}  {'ratio':<23}ratio of CPU"
        about = f"{self.started_at:%Y-%m-%d %H:%M} UTC · {_machine()['cpu']} × {os.cpu_count()}"
        loads = ", ".join(f"{one:.1f}" for one in self.load_before)
        about += f" · Python {platform.python_version()} · load {loads}"
        if folder := self.run.baseline:
            about += f"\nbaseline: {folder} at {_commit(folder)}"
        return f"{about}\n{columns}"

    def add(self, database: str, result: Result) -> str:
        """Keep a result; return its lines of the table: the figure, then the others."""
        self.figures.append({"database": database, **_as_json(result)})
        self.misses += [f"{database}, {result.name}: {miss}" for miss in result.misses]
        return "\n".join(_lines(database, result))

    def finish(self) -> str:
        """Write the JSON file; return the remarks, the goals that were missed and its name."""
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"{self.started_at:%Y-%m-%dT%H%M%S}.json"
        path.write_text(json.dumps(self._as_json(), indent=2) + "\n", encoding="utf-8")
        missed = [f"missed: {miss}" for miss in self.misses] or [
            "no goal that was measured is missed"
        ]
        return "\n".join(["", *self.run.notes, *missed, f"kept in {path}"])

    def _as_json(self) -> dict[str, Any]:
        return {
            "started_at": self.started_at.isoformat(),
            "machine": _machine(),
            "versions": _versions(),
            "load": {"before": list(self.load_before), "after": list(os.getloadavg())},
            "rounds": self.run.rounds,
            "seconds": self.run.seconds,
            "web_workers": int(WEB_WORKERS) if WEB_WORKERS else None,
            "baseline": _baseline(self.run.baseline),
            "peer": self.run.peer.url if self.run.peer else None,
            "figures": self.figures,
            "reports": self.reports,
            "notes": self.run.notes,
            "missed": self.misses,
        }


def _lines(database: str, result: Result) -> Iterator[str]:
    yield f"{database:<11}{result.name:<42}{_columns(result.figure, result.unit)}".rstrip()
    others = {result.limit_name: result.limit, "baseline": result.baseline, "peer": result.peer}
    for name, other in others.items():
        if other is not None:
            ratios = f"{_spread(result.ratio_to(other)):<23}{_spread(result.cpu_ratio_to(other))}"
            yield f"{'':<13}{name:<40}{_columns(other, result.unit)}  {ratios}".rstrip()


def _columns(taken: Rounds, unit: str) -> str:
    p50, p99 = (_median(values, ".1f") for values in (taken.p50, taken.p99))
    cpu, database_cpu = (_median(values, ",.0f") for values in (taken.cpu, taken.database_cpu))
    speed = f"{_number(taken.median):>12} {unit:<4}{p50:>7}{p99:>8}"
    return f"{speed}{cpu:>8}{database_cpu:>17}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _median(values: Sequence[float], form: str) -> str:
    return format(statistics.median(values), form) if values else ""


def _spread(ratios: Rounds | None) -> str:
    """Return the median of the rounds, the lowest and the highest."""
    if ratios is None:
        return ""
    return f"{ratios.median:.2f} ({min(ratios.values):.2f} to {max(ratios.values):.2f})"


def _as_json(result: Result) -> dict[str, Any]:
    others = {"limit": result.limit, "baseline": result.baseline, "peer": result.peer}
    compared: dict[str, Any] = {}
    for name, other in others.items():
        compared[name] = _rounds(other)
        compared[f"times_{name}"] = _rounds(result.ratio_to(other))
        compared[f"times_cpu_of_{name}"] = _rounds(result.cpu_ratio_to(other))
    return {
        "name": result.name,
        "unit": result.unit,
        "figure": _rounds(result.figure),
        "limit_name": result.limit_name,
        **compared,
        "goal": result.goal,
        "peer_goal": result.peer_goal,
        "misses": result.misses,
    }


def _rounds(taken: Rounds | None) -> dict[str, Any] | None:
    if taken is None:
        return None
    fields = {
        "p50_ms": taken.p50,
        "p99_ms": taken.p99,
        "cpu_us": taken.cpu,
        "database_cpu_us": taken.database_cpu,
    }
    more = {name: _series(values) for name, values in fields.items() if values}
    return {**_series(taken.values), **more}


def _series(values: Sequence[float]) -> dict[str, Any]:
    return {"median": statistics.median(values), "rounds": list(values)}


def _machine() -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": names[0] if names else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(pages / 2**30, 1),
        "system": platform.platform(),
    }


def _versions() -> dict[str, str]:
    return {
        "billtrack": _commit(Path(__file__).parent),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        PROGRAM: _first_line([PROGRAM, "--version"]),
        **{name: version(name) for name in PACKAGES},
    }


def _baseline(folder: Path | None) -> dict[str, str] | None:
    return {"folder": str(folder), "billtrack": _commit(folder)} if folder else None


def _commit(folder: Path) -> str:
    return _first_line(["git", "-C", str(folder), "describe", "--always", "--dirty"])


def _first_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return (done.stdout or done.stderr).partition("\n")[0].strip()
