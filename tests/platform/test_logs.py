"""What the log of a process looks like, and what it never says."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from billtrack.entrypoints.console import Screen
from billtrack.entrypoints.supervisor import PROJECT_DIR
from billtrack.platform.logs import OneWriter

WORD = "s3cr3t-stub"
KEY = "bt_live_" + "A1b2-C3d4_" * 3
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")

# A process as the web and the worker are, in which things go wrong.
PROCESS = """
import logging, sys, warnings
from contextlib import suppress
import structlog
from sqlalchemy import text
from billtrack.entrypoints.app import create_app
from billtrack.platform.config import load_settings
from billtrack.platform.extensions import db
from billtrack.platform.logs import configure_logs
word, key = sys.argv[1:]
settings = load_settings()
configure_logs(settings.log_format)
app = create_app(settings)
def fail():
    raise RuntimeError(f"refused: password={word} and {key}")
app.view_functions["api.list_meters"] = fail
def ask_database():
    db.session.execute(text("SELECT nothing FROM nowhere WHERE x = :x"), {"x": word})
app.view_functions["api.list_plans"] = ask_database
client = app.test_client()
headers = {"Authorization": f"Bearer {key}", "Cookie": f"billtrack_session={word}"}
query = f"token={word}&key={key}"
client.get(f"/api/v1/meters?{query}", headers={**headers, "X-Request-Id": "request-1"})
client.get("/api/v1/plans", headers=headers)
client.get(f"/api/v1/{key}")
client.get("/static/css/tokens.css").close()
client.get("/api/v1/health/live")
log = structlog.get_logger("test")
structlog.contextvars.clear_contextvars()
with structlog.contextvars.bound_contextvars(job_id=7):
    try:
        raise ValueError(f"redis://:{word}@redis.example/0")
    except ValueError:
        log.exception("job_crashed", authorization=word, inner={"cookie": word})
    logging.getLogger("huey").error("lost %s", f"postgresql://stub:{word}@db.example/x")
logging.getLogger("alembic.runtime").warning("careful: token=%s", word)
warnings.warn(f"old: secret={word}")
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the process prints, by format."""
    return {kind: run(kind, tmp_path_factory.mktemp(kind)) for kind in ("json", "text")}


@pytest.fixture(scope="module")
def events(printed: dict[str, str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in printed["json"].splitlines()]


def run(log_format: str, folder: Path) -> str:
    environment = {"PATH": os.environ["PATH"], "BILLTRACK_DATA_DIR": str(folder)}
    answer = subprocess.run(
        [sys.executable, "-c", PROCESS, WORD, KEY],
        env=environment | {"BILLTRACK_LOG_FORMAT": log_format},
        cwd=PROJECT_DIR,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert answer.stderr == ""
    return answer.stdout


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_no_secret_leaves_the_process(printed: dict[str, str], log_format: str) -> None:
    text = printed[log_format]
    assert "job_crashed" in text
    assert WORD not in text
    assert KEY not in text


def test_every_line_is_an_object_that_says_when_what_and_where(
    events: list[dict[str, Any]],
) -> None:
    for event in events:
        assert list(event)[:4] == ["timestamp", "level", "event", "logger"]
        assert INSTANT.fullmatch(event["timestamp"])


def test_the_libraries_write_the_same_lines(events: list[dict[str, Any]]) -> None:
    loggers = {event["logger"]: event for event in events}
    assert {"huey", "alembic.runtime", "py.warnings", "billtrack.platform.http", "test"} <= set(
        loggers
    )
    assert loggers["huey"]["level"] == "error"
    assert loggers["huey"]["job_id"] == 7


def test_an_exception_is_one_field(events: list[dict[str, Any]]) -> None:
    crashed = next(event for event in events if event["event"] == "job_crashed")
    assert crashed["job_id"] == 7
    assert crashed["exception"].startswith("Traceback")
    assert "ValueError" in crashed["exception"]
    unexpected = next(event for event in events if event["event"] == "unexpected_error")
    assert unexpected["request_id"] == "request-1"
    assert "RuntimeError" in unexpected["exception"]


def test_every_request_is_one_line_but_for_files_and_probes(events: list[dict[str, Any]]) -> None:
    requests = [event for event in events if event["event"] == "request"]
    assert [(event["path"], event["status"]) for event in requests] == [
        ("/api/v1/meters", 500),
        ("/api/v1/plans", 503),
        ("/api/v1/bt_live_[redacted]", 404),
    ]
    first = requests[0]
    assert (first["method"], first["address"]) == ("GET", "127.0.0.1")
    assert first["request_id"] == "request-1"
    assert first["milliseconds"] >= 0


def test_text_is_for_people(printed: dict[str, str]) -> None:
    assert re.search(r"(?m)^\S+Z \[error +\] job_crashed .*job_id=7$", printed["text"])
    assert re.search(r"(?m)^Traceback", printed["text"])


def test_up_leaves_json_lines_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(width=6, log_format="json")
    line = '{"event": "b", "timestamp": "a", "big": 12345678901234567890.10}'
    screen.say("web", line)
    screen.say("web", "Segmentation fault")
    screen.say("up", '"only a text"')
    as_it_was, fault, text = capsys.readouterr().out.splitlines()
    assert as_it_was == line
    assert json.loads(fault)["event"] == "Segmentation fault"
    assert json.loads(fault)["logger"] == "billtrack.web"
    assert json.loads(text)["event"] == '"only a text"'


class SlowStream(io.StringIO):
    """A stream that others write to while it is being written to."""

    def __init__(self, meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self.meanwhile = meanwhile

    def write(self, text: str) -> int:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return super().write(text)


def line(text: str) -> logging.LogRecord:
    return logging.LogRecord("test", logging.INFO, "", 0, text, None, None)


def test_it_writes_what_came_while_it_wrote() -> None:
    def meanwhile() -> None:
        writer.handle(line("two"))
        writer.handle(line("three"))

    stream = SlowStream(meanwhile)
    writer = OneWriter(stream)
    writer.handle(line("one"))
    assert stream.getvalue() == "one\ntwo\nthree\n"


def test_it_loses_no_line_of_many_threads() -> None:
    stream = io.StringIO()
    writer = OneWriter(stream)

    def write(thread: int) -> None:
        for number in range(200):
            writer.handle(line(f"{thread} {number}"))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(write, range(8)))
    lines = stream.getvalue().splitlines()
    assert sorted(lines) == sorted(f"{thread} {n}" for thread in range(8) for n in range(200))
    for thread in range(8):
        own = [int(text.split()[1]) for text in lines if text.startswith(f"{thread} ")]
        assert own == list(range(200))


def test_a_log_that_cannot_be_written_stops_no_work(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    writer = OneWriter(stream)
    stream.close()
    assert writer.handle(line("one")) is True
    writer.write_line("two")
    assert capsys.readouterr().err.count("closed file") == 2
