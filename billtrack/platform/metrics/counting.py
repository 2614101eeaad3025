"""What the program counts while it runs. Where no metrics are asked for, nothing is counted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from flask import Flask, current_app, has_app_context
from prometheus_client import CollectorRegistry, Counter, Histogram, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from billtrack.platform.metrics.sharing import VARIABLE

EXTENSION = "billtrack.platform.metrics"
METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "OPTIONS", "PUT", "DELETE"})

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
SLOW = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Counts:
    """The counters of one app: in memory, or in files that several processes share."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Histogram(
            "billtrack_request_duration_seconds",
            "Requests, and the time from their arrival to their answer.",
            ["method", "route", "status"],
            buckets=FAST,
            registry=self._registry,
        )
        self.records = Counter(
            "billtrack_usage_records",
            "Usage records that intake decided on.",
            ["outcome"],
            registry=self._registry,
        )
        self.jobs = Histogram(
            "billtrack_job_duration_seconds",
            "Attempts at jobs, and the time that they took.",
            ["kind", "result"],
            buckets=SLOW,
            registry=self._registry,
        )
        self.renderings = Histogram(
            "billtrack_render_duration_seconds",
            "Documents rendered as PDF, and the time that they took.",
            ["result"],
            buckets=SLOW,
            registry=self._registry,
        )

    def collect(self) -> Iterable[Metric]:
        """Return what was counted: by this process, or by all that share a folder with it."""
        if not is_shared():
            return map(_without_creation, self._registry.collect())
        # A file that was made just now is empty, and not yet to be read.
        files = [str(path) for path in shared_files() if path.stat().st_size]
        merged: Iterable[Metric] = MultiProcessCollector.merge(files)
        return merged


def _without_creation(metric: Metric) -> Metric:
    """Drop the instants at which series began: files do not hold them either."""
    metric.samples = [one for one in metric.samples if not one.name.endswith("_created")]
    return metric


def init_app(app: Flask, *, is_wanted: bool) -> None:
    """Count what this app does, if that is asked for."""
    app.extensions[EXTENSION] = Counts() if is_wanted else None


def current_counts() -> Counts | None:
    """Return the counters of the running app, or None where nothing is counted."""
    if not has_app_context():
        return None
    found: Counts | None = current_app.extensions.get(EXTENSION)
    return found


def is_shared() -> bool:
    """Tell whether this process counts together with others."""
    return VARIABLE in os.environ


def shared_files() -> Iterator[Path]:
    """Yield the files of every process that ever shared the folder."""
    return Path(os.environ[VARIABLE]).glob("*.db")


def count_request(*, method: str, route: str | None, status: int, seconds: float) -> None:
    """Count an answer. `route` is the pattern, without ids; None for what is no route."""
    counts = current_counts()
    if counts is not None:
        # Whoever asks chooses the method and the path: neither may make a new series.
        known = method if method in METHODS else "other"
        labels = (known, route or "none", f"{status // 100}xx")
        counts.requests.labels(*labels).observe(seconds)


def count_records(numbers: Mapping[str, int]) -> None:
    """Count how many records came to which outcome, once that is stored."""
    counts = current_counts()
    if counts is not None:
        for outcome, number in numbers.items():
            counts.records.labels(outcome).inc(number)


def count_job(*, kind: str, result: str, seconds: float) -> None:
    """Count an attempt at a job by how it ended."""
    counts = current_counts()
    if counts is not None:
        counts.jobs.labels(kind, result).observe(seconds)


def count_rendering(*, result: str, seconds: float) -> None:
    """Count a document by whether it was rendered."""
    counts = current_counts()
    if counts is not None:
        counts.renderings.labels(result).observe(seconds)
