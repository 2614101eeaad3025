"""/metrics: what was counted, and what the tables tell, for Prometheus; behind a token.

The web answers it, and a worker that runs alone on a port of its own. Any process may be
asked: counters are those of all that share a folder.
"""

from __future__ import annotations

import hmac
import os
import platform
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import structlog
from flask import Blueprint, Response, abort, request
from prometheus_client import CONTENT_TYPE_LATEST, Metric, ProcessCollector, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from billtrack import __version__
from billtrack.accounts import access
from billtrack.billing.month_totals.queries import find_age
from billtrack.platform import limits
from billtrack.platform.error_responses import problem
from billtrack.platform.extensions import current_settings, db
from billtrack.platform.installation.parts import list_workers
from billtrack.platform.jobs.queries import read_queue
from billtrack.platform.metrics.counting import current_counts, is_shared, shared_files

log = structlog.get_logger(__name__)
scrape = Blueprint("scrape", __name__)


@scrape.get("/metrics")
@access.probe  # not an account's credential opens it, but the token of the settings
def show_metrics() -> Response:
    """Answer with every metric in Prometheus' text format."""
    if current_settings().metrics_token is None:
        abort(404)
    if not is_scraper(request.headers.get("Authorization", "")):
        limits.charge_address()
        detail = "Send the token of BILLTRACK_METRICS_TOKEN: Authorization: Bearer …"
        return problem(401, "unauthenticated", detail)
    return Response(metrics_text(), content_type=CONTENT_TYPE_LATEST)


def is_scraper(authorization: str) -> bool:
    """Tell whether the header carries the token; takes as long for a wrong one."""
    token = current_settings().metrics_token
    scheme, _, given = authorization.partition(" ")
    if token is None or scheme.lower() != "bearer":
        return False
    expected = token.get_secret_value().encode()
    return hmac.compare_digest(expected, given.strip().encode("utf-8", "surrogateescape"))


def metrics_text() -> bytes:
    """Return every metric as text; needs an app context."""
    return generate_latest(_Everything())


class _Everything(Collector):
    def collect(self) -> Iterable[Metric]:
        counts = current_counts()
        if counts is not None:
            yield from counts.collect()
        yield from _from_tables(datetime.now(UTC))
        yield from _from_processes()
        build = GaugeMetricFamily(
            "billtrack_build_info", "Always 1; the version runs.", labels=["version", "python"]
        )
        build.add_metric([__version__, platform.python_version()], 1)
        yield build


def _from_tables(now: datetime) -> Iterable[Metric]:
    """Return what the database tells; with it away, only that."""
    try:
        found = list(_read_tables(now))
    except SQLAlchemyError as error:
        log.warning("database_unavailable", error=str(error))
        db.session.rollback()
        return [_gauge("billtrack_database_up", "Whether the database answers, 1 or 0.", 0)]
    return [_gauge("billtrack_database_up", "Whether the database answers, 1 or 0.", 1), *found]


def _read_tables(now: datetime) -> Iterable[Metric]:
    queue = read_queue(now=now)
    jobs = GaugeMetricFamily("billtrack_jobs", "Jobs in the table, by state.", labels=["status"])
    for status, number in queue.by_status.items():
        jobs.add_metric([status], number)
    yield jobs
    yield _gauge(
        "billtrack_oldest_queued_job_age_seconds",
        "How long the job has waited that waits longest; 0 when none waits.",
        queue.oldest_wait.total_seconds(),
    )
    alive = sum(worker.is_alive for worker in list_workers(now=now))
    yield _gauge("billtrack_workers", "Worker processes seen within 45 seconds.", alive)
    age = find_age(now=now)
    if age is not None:
        yield _gauge(
            "billtrack_summary_age_seconds",
            "Time since the figures of the newest month were counted.",
            age.total_seconds(),
        )


def _from_processes() -> Iterable[Metric]:
    """Return memory, CPU time and open files of the processes that count and live."""
    merged: dict[str, Metric] = {}
    for pid in _pids() if is_shared() else {str(os.getpid())}:
        for family in ProcessCollector(pid=partial(str, pid), registry=None).collect():
            kept = merged.setdefault(
                family.name, Metric(family.name, family.documentation, family.type)
            )
            for sample in family.samples:
                kept.add_sample(sample.name, {"pid": pid}, sample.value)
    return merged.values()


def _pids() -> set[str]:
    # A number may belong to another process by now: only ours has the file mapped.
    return {pid for path in shared_files() if _maps(pid := path.stem.rpartition("_")[2], path)}


def _maps(pid: str, file: Path) -> bool:
    try:
        return str(file.resolve()) in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(name, documentation, value=value)
