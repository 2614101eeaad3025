"""The table on the screen and the JSON file of a run."""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
from collections.abc import Sequence
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
        columns = f"{'':<11}{'':<42}{'figure':>12} {'unit':<4}{'p50':>7}{'p99':>8}  "
        columns += f"{'limit':<38}{'ratio':>6}  {'peer':>10}{'ratio':>7}  lowest and highest"
        about = f"{self.started_at:%Y-%m-%d %H:%M} UTC · {_machine()['cpu']} × {os.cpu_count()}"
        loads = ", ".join(f"{one:.1f}" for one in self.load_before)
        return f"{about} · Python {platform.python_version()} · load {loads}\n{columns}"

    def add(self, database: str, result: Result) -> str:
        """Keep a result; return its line of the table."""
        self.figures.append({"database": database, **_as_json(result)})
        self.misses += [f"{database}, {result.name}: {miss}" for miss in result.misses]
        return _row(database, result)

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
            "peer": self.run.peer.url if self.run.peer else None,
            "figures": self.figures,
            "reports": self.reports,
            "notes": self.run.notes,
            "missed": self.misses,
        }


def _row(database: str, result: Result) -> str:
    more = result.more
    p50, p99 = (f"{more[name]:.1f}" if name in more else "" for name in ("p50 ms", "p99 ms"))
    limit, peer = result.ratio_to(result.limit), result.ratio_to(result.peer)
    beside = f"{_number(result.limit.median)} {result.limit_name}" if result.limit else ""
    line = f"{database:<11}{result.name:<42}{_number(result.figure.median):>12} {result.unit:<4}"
    line += f"{p50:>7}{p99:>8}  {beside:<38}{f'{limit.median:.2f}' if limit else '':>6}  "
    if result.peer and peer:
        line += f"{_number(result.peer.median):>10}{peer.median:>7.2f}  {_spread(peer)}"
    return line.rstrip()


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _spread(ratios: Rounds) -> str:
    return f"{min(ratios.values):.2f} to {max(ratios.values):.2f}"


def _as_json(result: Result) -> dict[str, Any]:
    def rounds(taken: Rounds | None) -> Any:
        if taken is None:
            return None
        return {"median": taken.median, "rounds": list(taken.values)}

    return {
        "name": result.name,
        "unit": result.unit,
        "figure": rounds(result.figure),
        "limit_name": result.limit_name,
        "limit": rounds(result.limit),
        "times_limit": rounds(result.ratio_to(result.limit)),
        "peer": rounds(result.peer),
        "times_peer": rounds(result.ratio_to(result.peer)),
        "goal": result.goal,
        "peer_goal": result.peer_goal,
        "misses": result.misses,
        **result.more,
    }


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
        "billtrack": _first_line(["git", "describe", "--always", "--dirty"]),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        PROGRAM: _first_line([PROGRAM, "--version"]),
        **{name: version(name) for name in PACKAGES},
    }


def _first_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return (done.stdout or done.stderr).partition("\n")[0].strip()
