"""Work for a running billtrack: accounts, usage, reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

from tests.docker.engine import PASSWORD, Site, check, eventually

Billtrack = Callable[..., str]
"""Runs `billtrack …` where the installation is."""

EMAIL = "ada@test.example"
CUSTOMER = ("--email", "busy@test.example", "--name", "王小明", "--role", "customer", "--json")


def open_accounts(site: Site, billtrack: Billtrack) -> int:
    """Create an administrator with a key, and a customer, whose id is returned."""
    billtrack("create-admin", "--email", EMAIL, "--password-stdin", stdin=f"{PASSWORD}\n")
    site.key = billtrack("api-key", "create", "--user", EMAIL).strip().splitlines()[-1]
    return int(json.loads(billtrack("create-user", *CUSTOMER))["id"])


def record_usage(site: Site, customer: int) -> None:
    """Record the same usage twice under one key, and look at what it costs."""
    usage = {"quantity": 500_000, "event": "api_calls", "user_id": customer}
    first, again = (site.post("/api/v1/usage/", {**usage, "idempotency_key": "a"}) for _ in "12")
    check(first == again, "usage sent twice under one key is one record", (first, again))
    total = site.get(f"/api/v1/users/{customer}/statement")["total"]
    check(total == "205.00", "500,000 calls cost 205.00", total)


def make_report(site: Site, customer: int) -> str:
    """Make a report of this month and return where its PDF is."""
    job = site.post(f"/api/v1/reports/{customer}", {})["jobId"]
    path = f"/api/v1/reports/status/{job}"
    eventually(
        lambda: site.get(path)["status"] in {"completed", "failed"},
        "a report ends",
        show=lambda: str(site.get(path)),
    )
    answer = site.get(path)
    check(answer["status"] == "completed", "it ends well", answer)
    return str(answer["fileUrl"])


def request_reports(site: Site, customer: int, count: int) -> list[str]:
    """Queue many reports of this year and return the ids of their jobs."""
    year = {"from": f"{datetime.now(UTC).year}-01-01", "to": f"{datetime.now(UTC):%Y-%m-%d}"}
    return [site.post(f"/api/v1/reports/{customer}", year)["jobId"] for _ in range(count)]


def statuses(site: Site, jobs: list[str]) -> list[str]:
    return [site.get(f"/api/v1/reports/status/{job}")["status"] for job in jobs]


def wait_for_all(site: Site, jobs: list[str]) -> None:
    """Wait until each of the jobs is completed."""
    waiting = list(jobs)

    def have_ended() -> bool:
        while waiting and site.get(f"/api/v1/reports/status/{waiting[0]}")["status"] == "completed":
            waiting.pop(0)
        return not waiting

    eventually(have_ended, f"all {len(jobs)} are completed", show=lambda: str(statuses(site, jobs)))
