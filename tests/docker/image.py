"""The image alone: `docker run` is `billtrack up`, on a volume that outlives the container."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from functools import partial

from tests.docker.engine import IMAGE, Engine, Site, check, eventually, free_port
from tests.docker.work import (
    make_report,
    open_accounts,
    record_usage,
    request_reports,
    statuses,
    wait_for_all,
)

NAME = f"billtrack-test-{os.getpid()}"
JOBS = 60
LOOK_AT_JOBS = """
import json, sqlite3
jobs = sqlite3.connect("/data/billtrack.db").execute("SELECT status, attempt FROM jobs")
print(json.dumps(jobs.fetchall()))
"""
KILL_WORKER = """
import os, pathlib, signal
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if path.read_bytes().endswith(b"billtrack.entrypoints.cli.main\\0worker\\0"):
        os.kill(int(path.parent.name), signal.SIGKILL)
"""
FIND_ZOMBIES = """
import pathlib
stats = [path.read_text() for path in pathlib.Path("/proc").glob("[0-9]*/stat")]
print(sum(stat.rpartition(")")[2].split()[0] == "Z" for stat in stats))
"""


def try_image(engine: Engine) -> None:
    """Start it, work with it, stop it in the middle, start it again."""
    site = Site(free_port())
    port = site.address.rpartition(":")[2]
    engine.run("volume", "create", NAME)
    try:
        publish = f"127.0.0.1:{port}:6009"
        engine.run("run", "-d", "--name", NAME, "-p", publish, "-v", f"{NAME}:/data", IMAGE)
        _try_container(engine, site)
    finally:
        engine.run("rm", "-f", NAME)
        engine.run("volume", "rm", NAME)


def _try_container(engine: Engine, site: Site) -> None:
    _wait_until_healthy(engine)
    log = engine.run("logs", NAME)
    check(re.search(r"works once\): http\S+/set-up\?token=", log), "it prints the set-up link", log)
    who = engine.run("exec", NAME, "id", "-u").strip()
    check(who == "10001", "it is not root", who)
    billtrack = partial(engine.billtrack, NAME)
    customer = open_accounts(site, billtrack)
    record_usage(site, customer)
    pdf = site.download(make_report(site, customer))
    check(pdf.startswith(b"%PDF-"), "the report is a PDF", pdf[:20])
    _try_lost_worker(engine)
    make_report(site, customer)
    _try_stop(engine, site, customer)
    site.download(make_report(site, customer))


def _wait_until_healthy(engine: Engine) -> None:
    eventually(
        lambda: engine.is_healthy(NAME),
        "the container is healthy",
        show=lambda: engine.run("logs", NAME),
    )


def _try_lost_worker(engine: Engine) -> None:
    """Process 1 buries the rendering processes that a worker leaves behind by kill -9."""
    engine.run("exec", NAME, "python", "-c", KILL_WORKER)
    eventually(
        lambda: engine.run("logs", NAME).count("worker_started") > 1,
        "a worker that was killed is started again",
        show=lambda: engine.run("logs", NAME),
    )
    zombies = engine.run("exec", NAME, "python", "-c", FIND_ZOMBIES).strip()
    check(zombies == "0", "it leaves no zombies", zombies)


def _try_stop(engine: Engine, site: Site, customer: int) -> None:
    """What runs at SIGTERM is finished, what waits is done after the next start, each once."""
    jobs = request_reports(site, customer, JOBS)
    eventually(lambda: "completed" in statuses(site, jobs[:1]), "work began", show=lambda: "")
    engine.run("stop", "-t", "40", NAME)
    code = engine.run("inspect", "--format", "{{.State.ExitCode}}", NAME).strip()
    check(code == "0", "SIGTERM stops it with exit code 0", code)
    volume = (f"{NAME}:/data", "--entrypoint", "python", IMAGE)
    left = json.loads(engine.run("run", "--rm", "-v", *volume, "-c", LOOK_AT_JOBS))
    states = Counter(status for status, _ in left)
    check(states["queued"], "jobs were still waiting then", states)
    check(not states["running"], "and none was left half-way", states)
    engine.run("start", NAME)
    _wait_until_healthy(engine)
    wait_for_all(site, jobs)
    attempts = engine.run("exec", NAME, "python", "-c", LOOK_AT_JOBS)
    check({a for _, a in json.loads(attempts)} == {1}, "none was done twice", attempts)
