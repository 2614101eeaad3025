"""`billtrack up` from an empty folder: what people and programs get, on both databases."""

from __future__ import annotations

import os
import re
import signal
import stat
from pathlib import Path

from pypdf import PdfReader
from sqlalchemy import func, select

from billtrack.accounts.users.permissions import Role
from billtrack.entrypoints.setup.demo import ACCOUNTS_FILE
from billtrack.platform.extensions import db
from billtrack.usage.records.models import UsageRecord
from tests.scenarios.accounts import create_account
from tests.scenarios.conftest import Site
from tests.scenarios.harness import (
    Browser,
    Installation,
    assert_all_end,
    command_line,
    descendants,
    eventually,
    warm_renderers,
)

ACCOUNT = re.compile(r"^  (admin|manager|provider|customer) +(\S+@\S+) +(\S+)$", re.MULTILINE)


def count_records(installation: Installation) -> int:
    with installation.inside():
        return db.session.scalar(select(func.count()).select_from(UsageRecord)) or 0


def test_it_prints_where_it_is_and_accounts_for_the_four_roles(site: Site) -> None:
    port = site.installation.port
    site.up.wait_for(rf"^billtrack is ready: http://localhost:{port}$")
    accounts = ACCOUNT.findall(site.up.text)
    assert [role for role, _, _ in accounts] == ["admin", "manager", "provider", "customer"]
    file = site.installation.folder / ACCOUNTS_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "set-up" not in site.up.text


def test_every_printed_account_can_sign_in(site: Site) -> None:
    for role, email, password in ACCOUNT.findall(site.up.text):
        browser = Browser(site.installation)
        assert browser.sign_in(email, "a wrong password").status == 401
        assert browser.sign_in(email, password).status == 303, role
        page = browser.get("/")
        assert page.status in {200, 303}, role
        assert page.headers.get("Location", "") != "/sign-in"


def test_everything_is_well(site: Site) -> None:
    health = site.installation.ask("GET", "/api/v1/health")
    assert health.status == 200
    assert health.json["checks"] == {"database": "ok", "queue": "ok", "worker": "ok"}
    asked = site.installation.run("healthcheck")
    assert (asked.returncode, asked.stderr) == (0, "")


def test_a_report_is_made_and_opens_for_who_may_see_it(site: Site, tmp_path: Path) -> None:
    shop = site.installation
    manager = create_account(shop, Role.MANAGER, f"{tmp_path.name}-manager@test.example")
    customer = create_account(shop, Role.CUSTOMER, f"{tmp_path.name}-customer@test.example")
    stranger = create_account(shop, Role.CUSTOMER, f"{tmp_path.name}-stranger@test.example")
    record = {"user_id": customer.id, "event": "api_calls", "quantity": 500_000}
    assert shop.ask("POST", "/api/v1/usage/", key=manager.key, body=record).status == 201

    queued = shop.ask("POST", f"/api/v1/reports/{customer.id}", key=manager.key)
    assert (queued.status, queued.json["status"]) == (202, "queued")
    path = f"/api/v1/reports/status/{queued.json['jobId']}"
    eventually(
        lambda: shop.ask("GET", path, key=manager.key).json["status"] == "completed",
        lambda: site.up.text,
    )
    address = shop.ask("GET", path, key=customer.key).json["fileUrl"]
    file = shop.ask("GET", address, key=customer.key)
    assert (file.status, file.headers["Content-Type"]) == (200, "application/pdf")
    (tmp_path / "report.pdf").write_bytes(file.body)
    assert "205.00" in PdfReader(tmp_path / "report.pdf").pages[0].extract_text()
    assert shop.ask("GET", address, key=stranger.key).status == 404
    assert shop.ask("GET", path, key=stranger.key).status == 404
    assert shop.ask("GET", address).status == 303  # to the sign-in page
    assert shop.ask("GET", address, key="bt_live_nonsense").status == 401


def test_a_killed_worker_is_started_again(site: Site) -> None:
    def worker() -> int | None:
        pids = descendants(site.up.pid)
        return next(
            (pid for pid in pids if "billtrack.entrypoints.cli.main worker" in command_line(pid)),
            None,
        )

    lost = worker()
    assert lost is not None
    os.kill(lost, signal.SIGKILL)
    site.up.wait_for("worker was ended by signal 9; starting it again")
    eventually(lambda: worker() not in {None, lost}, lambda: site.up.text)


def test_ctrl_c_stops_it_whole_and_it_starts_again_as_it_was(site: Site) -> None:
    accounts, count = ACCOUNT.findall(site.up.text), count_records(site.installation)
    # Granian and two of it, the worker and two for rendering; one that Python is just starting
    # may find what it is handed gone, and says so in a traceback.
    eventually(lambda: len(warm_renderers(site.up.pid)) == 2, lambda: site.up.text)
    assert len(descendants(site.up.pid)) >= 6
    started = descendants(site.up.pid)
    assert site.up.stop(signal.SIGINT) == 0
    assert_all_end(started)
    assert "Traceback" not in site.up.text
    site.restart()
    assert ACCOUNT.findall(site.up.text) == accounts
    assert count_records(site.installation) == count
