"""Installations to look at: one as it is run, and one in this process that stands still."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from apiflask import APIFlask
from werkzeug.serving import make_server

from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.setup.initialise import initialise
from billtrack.entrypoints.supervisor import PROJECT_DIR
from billtrack.platform.config import Settings
from billtrack.platform.extensions import db
from billtrack.platform.process import tied_command
from tests.conftest import make_settings
from tests.services.processes import free_port
from tests.styleguide.page import add_styleguide

START_SECONDS = 120


@dataclass(frozen=True)
class Site:
    """A running installation: where it answers, who may sign in, and its command line."""

    url: str
    environment: dict[str, str]
    passwords: dict[str, tuple[str, str]]

    def billtrack(self, *arguments: str) -> str:
        """Run a command on the same data and return what it prints."""
        command = [sys.executable, "-P", "-m", "billtrack.entrypoints.cli.main", *arguments]
        done = subprocess.run(
            command, env=self.environment, cwd=PROJECT_DIR, check=True, capture_output=True
        )
        return done.stdout.decode()


@dataclass(frozen=True)
class Workshop(Site):
    """An empty installation without a worker, with the styleguide; tests write its database."""

    app: APIFlask
    settings: Settings


@contextmanager
def run_demo(folder: Path) -> Iterator[Site]:
    """Run `billtrack up` on a free port with demo data, and wait for its worker, too."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        **{name: value for name, value in os.environ.items() if "BILLTRACK" not in name},
        "BILLTRACK_DATA_DIR": str(folder),
        "BILLTRACK_PORT": str(port),
        "BILLTRACK_PUBLIC_URL": url,
        "BILLTRACK_DEMO": "1",
        "BILLTRACK_WEB_WORKERS": "1",
        "BILLTRACK_WORKERS": "1",
    }
    for name in ("DATABASE_URL", "REDIS_URL", "FLASK_DEBUG"):
        environment.pop(name, None)
    log = folder / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            tied_command([sys.executable, "-P", "-m", "billtrack.entrypoints.cli.main", "up"]),
            env=environment,
            cwd=PROJECT_DIR,
            stdout=file,
            stderr=file,
        )
    try:
        _wait_until_ready(url, process, log)
        yield Site(url, environment, _passwords(folder))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=START_SECONDS)


@contextmanager
def run_workshop(folder: Path) -> Iterator[Workshop]:
    """Serve an installation without accounts or worker from a thread of this process.

    Jobs stay in the state that a test gives them, and nothing has to be waited for.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = make_settings(folder, port=port, public_url=url)
    app = create_app(settings)
    add_styleguide(app)
    with app.app_context():
        initialise(settings, now=datetime.now(UTC))
        db.session.remove()
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Workshop(url, {}, {}, app, settings)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        with app.app_context():
            db.engine.dispose()


def _passwords(folder: Path) -> dict[str, tuple[str, str]]:
    accounts = json.loads((folder / "demo-accounts.json").read_text(encoding="utf-8"))
    return {one["role"]: (one["email"], one["password"]) for one in accounts}


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _is_ready(url):
        if process.poll() is not None or time.monotonic() > deadline:
            pytest.fail(f"billtrack did not start:\n{log.read_text(errors='replace')}")
        time.sleep(0.1)


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/api/v1/health", timeout=60) as answer:
            checks = json.load(answer)["checks"]
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False
    return set(checks.values()) == {"ok"}
