"""The command line: what it prints, how it refuses, its exit codes 0, 1 and 2."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tomllib
from contextlib import closing
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from pathlib import Path
from threading import Thread

import pytest
from apiflask import APIFlask

from billtrack.entrypoints.cli import main
from billtrack.entrypoints.cli.doctor import diagnose
from billtrack.entrypoints.supervisor import PROJECT_DIR
from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.installation.operations import beat
from tests.cast import Cast
from tests.conftest import SECRET
from tests.services import PostgresServer, unique_name
from tests.services.processes import free_port
from tests.terminal import Terminal

PASSWORD = "a sentence is easier than a riddle"
WORD = "secret-word"


@pytest.fixture
def empty(tmp_path: Path) -> Terminal:
    """A terminal on a machine without any database."""
    return Terminal(tmp_path)


@pytest.fixture
def terminal(sqlite_template: Path, empty: Terminal) -> Terminal:
    """A terminal beside a set-up database."""
    (empty.folder / "data").mkdir()
    (empty.folder / "data" / "billtrack.db").write_bytes(sqlite_template.read_bytes())
    return empty


def create_user(terminal: Terminal, role: str = "provider", email: str = "clock@x.example") -> int:
    made = terminal.run("create-user", "--email", email, "--role", role, "--json")
    assert made.code == 0, made.err
    return int(json.loads(made.out)["id"])


# Setting up


def test_init_makes_the_database_and_may_be_run_again(empty: Terminal) -> None:
    for _ in range(2):
        result = empty.run("init")
        assert (result.code, result.err) == (0, "")
        assert "up to date" in result.out
        assert "(this link works once): http://localhost:6009/set-up?token=" in result.out
    assert (empty.folder / "data" / "billtrack.db").exists()


def test_the_data_lie_in_instance_unless_said_otherwise(empty: Terminal) -> None:
    assert empty.run("init", BILLTRACK_DATA_DIR="", BILLTRACK_SECRET_KEY="").code == 0
    made = {path.name for path in (empty.folder / "instance").iterdir()}
    assert {"billtrack.db", "queue.db", "secret_key"} <= made
    assert (empty.folder / "instance" / "secret_key").stat().st_mode & 0o777 == 0o600


def test_a_data_folder_that_cannot_be_written_is_named(empty: Terminal) -> None:
    (empty.folder / "taken").touch()
    folder = str(empty.folder / "taken" / "data")
    refused = empty.run("init", BILLTRACK_DATA_DIR=folder)
    assert refused.refuses("BILLTRACK_DATA_DIR", folder, f"to user {os.geteuid()}")


def test_commands_say_what_to_do_without_a_database(empty: Terminal) -> None:
    result = empty.run("create-user", "--email", "a@x.example", "--role", "customer")
    assert result.refuses("billtrack init")


def test_an_unreachable_database_is_one_sentence(empty: Terminal) -> None:
    url = f"postgresql://nobody:{WORD}@127.0.0.1:{free_port()}/x"
    result = empty.run("init", DATABASE_URL=url)
    assert result.refuses("refused")
    assert WORD not in result.err


# Accounts


def test_create_admin_reads_the_password_from_standard_input(terminal: Terminal) -> None:
    arguments = ("create-admin", "--email", "ada@x.example", "--password-stdin")
    made = terminal.run(*arguments, stdin=PASSWORD + "\n")
    assert made.code == 0, made.err
    assert "ada@x.example" in made.out
    assert PASSWORD not in made.out
    assert terminal.run(*arguments, stdin=PASSWORD + "\n").refuses("ada@x.example")


def test_create_admin_refuses_a_weak_password_and_no_password(terminal: Terminal) -> None:
    arguments = ("create-admin", "--email", "ada@x.example")
    assert terminal.run(*arguments, "--password-stdin", stdin="short\n").refuses("12")
    assert terminal.run(*arguments, "--password-stdin").code == 1
    without = terminal.run(*arguments)
    assert without.code == 2
    assert "--password-stdin" in without.err


def test_create_user_answers_json_with_the_id(terminal: Terminal) -> None:
    made = terminal.run("create-user", "--email", "c@x.example", "--role", "customer", "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out) == {
        "id": 1,
        "email": "c@x.example",
        "name": "c@x.example",
        "role": "customer",
    }
    named = terminal.run(
        "create-user", "--email", "d@x.example", "--role", "manager", "--name", "D"
    )
    assert named.out == "Created manager d@x.example (id 2).\n"
    again = terminal.run("create-user", "--email", "C@x.example", "--role", "customer")
    assert again.refuses("There is an account for c@x.example already")


def test_api_keys_are_made_listed_and_revoked(terminal: Terminal) -> None:
    create_user(terminal)
    made = terminal.run("api-key", "create", "--user", "clock@x.example", "--json")
    assert made.code == 0, made.err
    answer = json.loads(made.out)
    assert set(answer) == {"id", "key"}
    assert answer["key"].startswith("bt_live_")
    plain = terminal.run("api-key", "create", "--user", "clock@x.example", "--name", "second")
    assert plain.out.startswith("bt_live_")

    listed = terminal.run("api-key", "list").out
    assert listed.count("live\t") == 2
    assert answer["key"] not in listed
    revoked = terminal.run("api-key", "revoke", str(answer["id"]))
    assert (revoked.code, revoked.out) == (0, f"API key {answer['id']} is revoked.\n")
    assert terminal.run("api-key", "list").out.count("revoked\t") == 1


def test_api_keys_are_rotated(terminal: Terminal) -> None:
    create_user(terminal)
    made = terminal.run("api-key", "create", "--user", "clock@x.example", "--days", "9", "--json")
    old = json.loads(made.out)["id"]
    rotated = terminal.run("api-key", "rotate", str(old), "--grace-hours", "1", "--json")
    new = json.loads(rotated.out)
    assert new["key"].startswith("bt_live_")
    assert new["id"] != old
    listed = dict(line.split("\t", 1) for line in terminal.run("api-key", "list").out.splitlines())
    assert "\treplaced, live until " in listed[str(old)]
    assert "\tlive until " in listed[str(new["id"])]
    assert terminal.run("api-key", "rotate", str(old)).refuses("has a successor already")
    at_once = terminal.run("api-key", "rotate", str(new["id"]), "--grace-hours", "0")
    assert at_once.out.startswith("bt_live_")
    assert "\treplaced\t" in terminal.run("api-key", "list").out
    assert terminal.run("api-key", "rotate", "77").refuses("77")
    assert terminal.run("api-key", "rotate", "1", "--grace-hours", "169").code == 2


def test_a_second_factor_is_reset(terminal: Terminal) -> None:
    user_id = create_user(terminal)
    reset = ("second-factor", "reset", "--email")
    assert terminal.run(*reset, "clock@x.example").refuses("has no second factor")
    with (
        closing(sqlite3.connect(terminal.folder / "data" / "billtrack.db")) as database,
        database,
    ):
        row = (user_id, b"x" * 48, "2026-11-25 12:00:00", "2026-11-25 12:00:00", 1)
        database.execute("INSERT INTO second_factors VALUES (?, ?, ?, ?, ?)", row)
    assert "The password alone opens" in terminal.run(*reset, "Clock@X.example").out
    assert terminal.run(*reset, "clock@x.example").refuses("has no second factor")
    assert terminal.run(*reset, "nobody@x.example").refuses("nobody@x.example")
    assert terminal.run("second-factor", "reset").code == 2


def test_api_key_refuses_what_is_not_there(terminal: Terminal) -> None:
    create_user(terminal, "customer", "c@x.example")
    create = ("api-key", "create", "--user")
    assert terminal.run(*create, "nobody@x.example").refuses("nobody@x.example")
    assert terminal.run(*create, "c@x.example", "--scopes", "usage:record").refuses("usage:record")
    assert terminal.run("api-key", "revoke", "77").refuses("77")
    assert terminal.run("api-key", "revoke", "seven").code == 2


# Looking


def test_doctor_names_what_is_missing_and_what_to_do(empty: Terminal) -> None:
    before = empty.run("doctor")
    assert before.code == 1
    assert "FAIL  database: not up to date: run billtrack init" in before.out
    empty.run("init")
    create_user(empty, "admin", "ada@x.example")
    after = empty.run("doctor")
    assert after.code == 1
    failed = [line for line in after.out.splitlines() if line.startswith("FAIL")]
    assert failed == [
        "FAIL  worker: none seen within 45 seconds: run billtrack up or billtrack worker"
    ]


def test_doctor_advises_without_calling_it_a_failure(
    app: APIFlask, cast: Cast, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("billtrack.entrypoints.cli.doctor.ENOUGH_ROOM", 10**18)
    monkeypatch.setattr(
        "billtrack.entrypoints.cli.doctor._machine_memory", lambda: 400 * 1024 * 1024
    )
    monkeypatch.setattr("billtrack.presentation.pdf.pdf.FONTS", {"tlh": "fonts-klingon"})
    # There is fc-list, but no pg_dump.
    (tmp_path / "programs").mkdir()
    if fc_list := shutil.which("fc-list"):
        (tmp_path / "programs" / "fc-list").symlink_to(fc_list)
    monkeypatch.setenv("PATH", str(tmp_path / "programs"))
    with transaction():
        beat("test", now=datetime.now(UTC))
    findings = diagnose(app, settings)
    advised = [finding.text for finding in findings if finding.level == "warn"]
    assert all(finding.is_fine for finding in findings), findings
    assert re.match(r"disk: only [\d,.]+.[kMG]B free in the data folder: make room", advised[0])
    assert advised[1].startswith("memory: request bodies may take ")
    assert "lower BILLTRACK_BODY_MEMORY" in advised[1]
    assert advised[2].startswith("mail: letters are laid into ")
    assert "set BILLTRACK_SMTP_URL" in advised[2]
    rest = advised[3:]
    assert len(rest) == bool(fc_list) + (settings.database_url is not None)
    if settings.database_url is not None:
        assert "pg_dump is not installed: apt-get install postgresql-client-" in rest.pop()
    assert all("apt-get install fonts-klingon" in text for text in rest)


def test_config_shows_the_settings_but_no_secret(terminal: Terminal) -> None:
    shown = terminal.run(
        "config",
        DATABASE_URL=f"postgresql://u:{WORD}@h/d",
        DATABASE_REPLICA_URL=f"postgresql://u:{WORD}@r/d",
        REDIS_URL=f"redis://:{WORD}@h/0",
        BILLTRACK_PORT="7001",
    )
    assert shown.code == 0, shown.err
    assert "port = 7001\n" in shown.out
    assert WORD not in shown.out
    assert SECRET.get_secret_value() not in shown.out


def test_openapi_prints_the_document_or_writes_it(empty: Terminal) -> None:
    printed = empty.run("openapi")
    assert printed.code == 0, printed.err
    assert json.loads(printed.out)["openapi"].startswith("3.")
    assert empty.run("openapi", "--output", "api.json").code == 0
    assert (empty.folder / "api.json").read_text() == printed.out
    postman = empty.run("openapi", "--postman")
    assert "v2.1.0" in json.loads(postman.out)["info"]["schema"]


def test_healthcheck_refuses_when_nothing_answers(empty: Terminal) -> None:
    port = str(free_port())
    for host in ("127.0.0.1", "0.0.0.0", "::1"):
        result = empty.run("healthcheck", BILLTRACK_PORT=port, BILLTRACK_HOST=host)
        assert result.refuses(f":{port}/api/v1/health does not answer")


@pytest.mark.parametrize("status", [200, 503])
def test_healthcheck_says_what_the_server_says(empty: Terminal, status: int) -> None:
    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b'{"status": "from the server"}')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Server) as server:
        Thread(target=server.handle_request).start()
        port = str(server.server_port)
        # A proxy in the environment is for the world outside.
        elsewhere = f"http://127.0.0.1:{free_port()}"
        result = empty.run("healthcheck", BILLTRACK_PORT=port, http_proxy=elsewhere)
    assert result.code == (0 if status == 200 else 1)
    assert "from the server" in result.out + result.err


def test_healthcheck_says_whether_this_machine_has_a_worker(terminal: Terminal) -> None:
    assert terminal.run("healthcheck", "--worker").refuses("no worker of this machine")
    database = sqlite3.connect(terminal.folder / "data" / "billtrack.db")
    seen_at = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"
    with contextlib.closing(database), database:
        row = (f"{socket.gethostname()[:40]}-1-a", seen_at, seen_at)
        database.execute("INSERT INTO worker_heartbeats VALUES (?, ?, ?)", row)
    found = terminal.run("healthcheck", "--worker")
    assert (found.code, found.out) == (0, "The worker of this machine is alive.\n")


# The demo


def test_the_demo_is_reset_when_that_is_confirmed(terminal: Terminal) -> None:
    short = {"BILLTRACK_BACKFILL_DAYS": "2"}
    loaded = terminal.run("demo", **short)
    assert loaded.code == 0, loaded.err
    asked = terminal.run("demo", "--reset", **short)
    assert (asked.code, asked.out) == (2, "")
    assert "--yes" in asked.err
    again = terminal.run("demo", "--reset", "--yes", **short)
    assert (again.code, again.out) == (0, loaded.out), again.err


def test_the_demo_is_not_reset_where_somebody_works_with_it(terminal: Terminal) -> None:
    short = {"BILLTRACK_BACKFILL_DAYS": "2"}
    assert terminal.run("demo", **short).code == 0
    database = sqlite3.connect(terminal.folder / "data" / "billtrack.db")
    with contextlib.closing(database), database:
        database.execute("UPDATE users SET email = 'me@x.example' WHERE role = 'admin'")
    refused = terminal.run("demo", "--reset", "--yes", **short)
    assert refused.refuses("Nothing is removed")


# Used wrongly


@pytest.mark.parametrize(
    "arguments",
    [
        ("--unknown",),
        ("unknown",),
        ("init", "--unknown"),
        ("create-user", "--email", "a@x.example"),
        ("create-user", "--email", "a@x.example", "--role", "emperor"),
        ("api-key", "create"),
        ("api-key", "unknown"),
        ("backup",),
        ("restore",),
        ("db", "copy"),
        ("db", "copy", "--to-file", "nowhere"),
    ],
)
def test_wrong_use_ends_with_2(empty: Terminal, arguments: tuple[str, ...]) -> None:
    result = empty.run(*arguments)
    assert (result.code, result.out) == (2, "")
    assert "Usage: billtrack" in result.err


@pytest.mark.parametrize("arguments", [("--help",), ("--version",), ("api-key", "-h")])
def test_asking_for_help_is_fine(empty: Terminal, arguments: tuple[str, ...]) -> None:
    result = empty.run(*arguments)
    assert (result.code, result.err) == (0, "")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BILLTRACK_PORT", "abc"),
        ("BILLTRACK_PORT", "70000"),
        ("BILLTRACK_TIMEZONE", "Mars/Base"),
        ("BILLTRACK_CURRENCY", "XXX"),
        ("BILLTRACK_SECRET_KEY", "short"),
        ("BILLTRACK_SECRET_KEY", "changeme"),
        ("BILLTRACK_PUBLIC_URL", "example.com"),
        ("BILLTRACK_WORKERS", "0"),
        ("BILLTRACK_DEMO", "perhaps"),
        ("BILLTRACK_SECRET_KEY_FILE", "/nowhere/at/all"),
    ],
)
def test_a_wrong_setting_is_named_in_one_sentence(empty: Terminal, name: str, value: str) -> None:
    given = {name: value}
    if name.endswith("_FILE"):
        given[name.removesuffix("_FILE")] = ""
    result = empty.run("init", **given)
    assert result.refuses(name)
    assert not (empty.folder / "data").exists()


def test_a_setting_may_stand_in_a_file(empty: Terminal) -> None:
    (empty.folder / "port").write_text("7002\n")
    (empty.folder / "key").write_text("0123456789abcdef0123456789abcdef\n")
    shown = empty.run(
        "config",
        BILLTRACK_PORT_FILE="port",
        BILLTRACK_SECRET_KEY="",
        BILLTRACK_SECRET_KEY_FILE="key",
    )
    assert shown.code == 0, shown.err
    assert "port = 7002\n" in shown.out
    assert not (empty.folder / "data" / "secret_key").exists()


# Backups


def test_a_backup_is_written_restored_and_refused_where_something_is(terminal: Terminal) -> None:
    create_user(terminal, role="customer")
    written = terminal.run("backup", "b.tar")
    assert written.code == 0, written.err
    assert "0 usage records, 0 documents" in written.out
    assert terminal.run("backup", "b.tar").refuses("b.tar exists already")
    assert terminal.run("restore", "b.tar").refuses("billtrack.db holds a database already")
    fresh = terminal.run("restore", "b.tar", BILLTRACK_DATA_DIR="fresh")
    assert fresh.code == 0, fresh.err
    assert fresh.out.endswith("0 rollups of 1 users equal their records.\n")
    assert terminal.run("restore", "none.tar").refuses("none.tar")


def test_a_restore_ends_with_1_when_rollups_differ(terminal: Terminal) -> None:
    user_id = create_user(terminal, role="customer")
    with (
        closing(sqlite3.connect(terminal.folder / "data" / "billtrack.db")) as database,
        database,
    ):
        row = (user_id, "2026-11-02")
        database.execute("INSERT INTO usage_daily VALUES (?, 1, '', ?, 500, 2)", row)
    assert terminal.run("backup", "b.tar").code == 0
    restored = terminal.run("restore", "b.tar", BILLTRACK_DATA_DIR="fresh")
    assert restored.code == 1
    assert "0 in 0 records, but 500 in 2 rolled up\n" in restored.out
    assert "billtrack verify --repair" in restored.out
    assert terminal.run("verify", "--repair", BILLTRACK_DATA_DIR="fresh").code == 0


def test_a_database_is_copied_to_an_address_from_a_file(
    terminal: Terminal, postgres: PostgresServer
) -> None:
    create_user(terminal, role="customer")
    name = unique_name()
    url = postgres.create_database(name)
    (terminal.folder / "address").write_text(f"{url}\n")
    copied = terminal.run("db", "copy", "--to-file", "address")
    assert (copied.code, copied.err) == (0, "")
    assert "each compared" in copied.out
    assert url not in copied.out
    assert terminal.run("db", "copy", BILLTRACK_COPY_TO=url).refuses("holds tables already")
    back = terminal.run("db", "copy", "--to", "sqlite:///x.db", DATABASE_URL=url)
    assert back.refuses("there is no way back")
    assert terminal.run("verify", DATABASE_URL=url).code == 0
    postgres.drop_database(name)


# The other ways in


def test_the_same_commands_belong_to_flask(terminal: Terminal) -> None:
    def flask(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "BILLTRACK_DATA_DIR": "data", **settings}
        target = f"{PROJECT_DIR / 'wsgi.py'}:app"
        command = [sys.executable, "-m", "flask", "--app", target, *arguments]
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            cwd=terminal.folder,
            check=False,
        )

    assert flask("init").stdout.startswith("The database is up to date.\n")
    refused = flask("init", BILLTRACK_TIMEZONE="Europe/Berlin")
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: This database bills in UTC")
    assert refused.stderr.count("\n") == 1


def test_flask_is_told_of_every_command() -> None:
    project = tomllib.loads((PROJECT_DIR / "pyproject.toml").read_text())["project"]
    told = project["entry-points"]["flask.commands"]
    # There Flask-Migrate has a group of that name.
    assert set(told) == set(main.billtrack.commands) - {"db"}
    for name, target in told.items():
        module, _, attribute = target.partition(":")
        assert getattr(import_module(module), attribute) is main.billtrack.commands[name]


def test_only_debug_shows_a_traceback(terminal: Terminal) -> None:
    command = [sys.executable, "-m", "billtrack.entrypoints.cli.main", "--debug", "init"]
    url = f"postgresql://127.0.0.1:{free_port()}/x"
    environment = {"PATH": os.environ["PATH"], "BILLTRACK_DATA_DIR": "data", "DATABASE_URL": url}
    result = subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=terminal.folder, check=False
    )
    assert result.returncode == 1
    assert "Traceback" in result.stderr


# Usage


def test_verify_names_rollups_that_differ_and_repairs_them(terminal: Terminal) -> None:
    user_id = create_user(terminal, role="customer")
    sound = terminal.run("verify")
    assert (sound.code, sound.out) == (0, "0 rollups of 1 users equal their records.\n")
    with (
        closing(sqlite3.connect(terminal.folder / "data" / "billtrack.db")) as database,
        database,
    ):
        row = (user_id, "2026-11-02")
        database.execute("INSERT INTO usage_daily VALUES (?, 1, '', ?, 500, 2)", row)
    difference = (
        f"user {user_id}, api_calls, 2026-11-02: 0 in 0 records, but 500 in 2 rolled up\n"
        f"user {user_id}, api_calls, 2026-11: 500 in daily rollups, but 0 in the monthly one\n"
        "2 rollups differ, of 1 of 1 users.\n"
    )
    wrong = terminal.run("verify")
    assert (wrong.code, wrong.out, wrong.err) == (1, difference, "")
    repaired = terminal.run("verify", "--repair")
    assert (repaired.code, repaired.err) == (0, "")
    assert repaired.out == (
        difference + "Repaired. Once more:\n0 rollups of 1 users equal their records.\n"
    )


def test_a_usage_file_is_tried_then_imported_and_told_line_by_line(terminal: Terminal) -> None:
    create_user(terminal)
    customer = create_user(terminal, role="customer", email="pays@x.example")
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = (
        f"{customer},api_calls,5,{at}\n{customer},api_calls,5,{at}\n{customer},api_calls,x,{at}\n"
    )
    (terminal.folder / "usage.csv").write_text(f"user_id,event,quantity,occurred_at\n{rows}")
    importing = ("usage", "import", "usage.csv", "--as", "clock@x.example")
    reason = "line 4: quantity: Write a whole number from 1 to 10^15.\n"
    dry = terminal.run(*importing, "--dry-run")
    told = "Would be: 2 accepted, 0 duplicate, 0 conflict, 1 rejected.\n"
    assert (dry.code, dry.out, dry.err) == (1, told, reason)
    first = terminal.run(*importing, "--refused", "refused.csv")
    told = "Lines: 2 accepted, 0 duplicate, 0 conflict, 1 rejected.\n"
    assert (first.code, first.out, first.err) == (1, told, reason)
    refused = terminal.folder / "refused.csv"
    refused.write_text(refused.read_text().replace(",x,", ",6,"))
    mended = terminal.run("usage", "import", "refused.csv", "--as", "clock@x.example")
    assert (mended.code, mended.out) == (
        0,
        "Lines: 1 accepted, 0 duplicate, 0 conflict, 0 rejected.\n",
    )


def test_a_usage_file_is_refused_whole_in_one_sentence(terminal: Terminal) -> None:
    create_user(terminal)
    create_user(terminal, role="customer", email="pays@x.example")
    (terminal.folder / "usage.csv").write_text("user_id,event\n")
    importing = ("usage", "import", "usage.csv", "--as")
    assert terminal.run(*importing, "clock@x.example").refuses("quantity is missing")
    assert terminal.run(*importing, "pays@x.example").refuses("may not record usage")
    assert terminal.run(*importing, "nobody@x.example").refuses("no active account")
    assert terminal.run("usage", "import", "none.csv", "--as", "clock@x.example").code == 2


def test_personal_data_are_exported_and_erased(terminal: Terminal, tmp_path: Path) -> None:
    number = create_user(terminal, "customer", "jane@x.example")
    file = tmp_path / "jane.zip"
    told = terminal.run("user", "export", "--email", "jane@x.example", "--output", str(file))
    assert (told.code, str(file) in told.out) == (0, True)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_bytes()[:2] == b"PK"
    assert terminal.run("user", "erase", "--email", "jane@x.example").code == 2
    erased = terminal.run("user", "erase", "--email", "jane@x.example", "--yes")
    assert f"User {number} is now Erased customer {number}." in erased.out
    gone = terminal.run("user", "erase", "--email", "jane@x.example", "--yes")
    assert gone.refuses("There is no account for jane@x.example.")
