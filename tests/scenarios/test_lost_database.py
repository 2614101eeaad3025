"""PostgreSQL dies under the web and the worker: clear refusals meanwhile, then all goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from billtrack.accounts.users.permissions import Role
from tests.scenarios.accounts import create_account
from tests.scenarios.harness import Answer, Installation, eventually
from tests.scenarios.jobs import (
    assert_files_are_whole,
    create_busy_customer,
    let_leases_run_out,
    let_the_ring_die_away,
    request_reports,
    wait_for_all,
)
from tests.services import PostgresServer, RedisServer, start_postgres

REPORTS = 6


@pytest.fixture
def database() -> Iterator[PostgresServer]:
    """A PostgreSQL of this test alone, to be killed; what it commits is on the disk."""
    server = start_postgres(fsync=True)
    if not isinstance(server, PostgresServer):
        pytest.skip("this PostgreSQL is not ours to stop")
    yield server
    server.close()


@pytest.fixture
def site(database: PostgresServer, redis: RedisServer, tmp_path: Path) -> Iterator[Installation]:
    url = database.create_database("billtrack")
    made = Installation(tmp_path, database_url=url, redis_url=redis.url)
    yield made
    made.close()


def test_it_refuses_clearly_while_the_database_is_away_and_recovers_by_itself(
    site: Installation, database: PostgresServer
) -> None:
    with site.start("up") as up:
        up.wait_for("billtrack is ready")
        create_busy_customer(site)
        provider = create_account(site, Role.PROVIDER, "clock@test.example")
        record = {"user_id": 1, "event": "api_calls", "quantity": 5}

        def send(key: str) -> Answer:
            return site.ask(
                "POST", "/api/v1/usage/", key=provider.key, body={**record, "idempotency_key": key}
            )

        before = [send(f"before-{n}") for n in range(8)]  # both web workers have connections
        request_reports(site, REPORTS, days=10)
        database.kill9()
        refused = send("meanwhile")
        health = site.ask("GET", "/api/v1/health")
        page = site.ask("GET", "/")
        up.wait_for(r"worker \| .*database_unavailable")
        database.restart()
        site.close()
        eventually(lambda: site.ask("GET", "/api/v1/health").status == 200, lambda: up.text)
        after = [send("meanwhile") for _ in range(8)]
        let_leases_run_out(site)
        let_the_ring_die_away(site)
        wait_for_all(site, up)
        assert up.stop() == 0

    assert {answer.status for answer in before} == {201}
    assert refused.status == 503
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json["code"] == "unavailable"
    assert "Traceback" not in refused.text
    assert (health.status, health.json["checks"]["database"]) == (503, "down")
    assert page.status in {303, 503}
    assert sorted(answer.status for answer in after) == [200] * 7 + [201]
    assert_files_are_whole(site)
    assert "Traceback" not in up.text
