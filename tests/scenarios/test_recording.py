"""Many clients record over HTTP while processes are killed: nothing is lost, nothing twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count

import pytest
from sqlalchemy import func, select

from billtrack.accounts.permissions import Role
from billtrack.extensions import db
from billtrack.usage.models import UsageDaily, UsageKey, UsageRecord
from tests.scenarios.accounts import Account, create_account
from tests.scenarios.conftest import Site
from tests.scenarios.harness import (
    Answer,
    Installation,
    assert_all_end,
    command_line,
    descendants,
    eventually,
)

CLIENTS = 6
RECORDS = 60
ROUNDS = 12
RETRY_SECONDS = 80.0
numbers = count()


class Provider:
    """A machine that records for one customer, and tries again until it has its answer."""

    def __init__(self, installation: Installation) -> None:
        name = f"recording-{next(numbers)}"
        self._installation = installation
        self._account = create_account(installation, Role.PROVIDER, f"{name}@test.example")
        self.customer: Account = create_account(
            installation, Role.CUSTOMER, f"{name}-customer@test.example"
        )

    def send(self, key: str) -> Answer:
        body = {"user_id": self.customer.id, "event": "api_calls", "quantity": 7}
        return self._installation.ask(
            "POST",
            "/api/v1/usage/",
            key=self._account.key,
            body={**body, "idempotency_key": key},
            timeout=5,
        )

    def send_until_answered(self, key: str) -> int:
        """Return the id of the record."""
        deadline = time.monotonic() + RETRY_SECONDS
        while time.monotonic() < deadline:
            try:
                answer = self.send(key)
            except OSError:
                continue
            if answer.status in {200, 201}:
                return int(answer.json["id"])
            assert answer.status == 503, answer.text
        raise AssertionError(f"{key} was never answered")

    def stored(self) -> dict[str, int]:
        """Return the ids of the customer's records by key; counts and sums must agree."""
        with self._installation.inside():
            rows = db.session.execute(
                select(UsageRecord.idempotency_key, UsageRecord.id, UsageRecord.quantity).where(
                    UsageRecord.user_id == self.customer.id
                )
            ).all()
            ids = [row.id for row in rows]
            keys = db.session.scalar(
                select(func.count()).select_from(UsageKey).where(UsageKey.record_id.in_(ids))
            )
            rollup = db.session.execute(
                select(func.sum(UsageDaily.quantity), func.sum(UsageDaily.count)).where(
                    UsageDaily.user_id == self.customer.id
                )
            ).one()
        assert keys == len(ids)
        assert tuple(map(int, rollup)) == (sum(row.quantity for row in rows), len(rows))
        return {str(row.idempotency_key): row.id for row in rows}


@pytest.fixture
def provider(site: Site) -> Provider:
    return Provider(site.installation)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(CLIENTS) as pool:
        yield pool


def web_workers(site: Site) -> list[int]:
    """Return the processes that answer requests: what Granian's first process has forked."""
    _main, *workers = (pid for pid in descendants(site.up.pid) if "granian" in command_line(pid))
    return workers


def wait_for_more(answers: Collection[Future[int]]) -> None:
    """Wait until another fifth of the answers has come."""

    def come() -> int:
        return sum(answer.done() for answer in answers)

    wanted = come() + len(answers) // 5
    eventually(lambda: come() >= wanted, "answers")


def test_two_that_record_the_same_key_at_once_get_the_same_record(
    provider: Provider, pool: ThreadPoolExecutor
) -> None:
    start = threading.Barrier(2)

    def send(key: str) -> Answer:
        start.wait()
        return provider.send(key)

    for number in range(ROUNDS):
        key = f"same-{number}"
        first, second = pool.map(send, [key, key])
        assert sorted([first.status, second.status]) == [200, 201], first.text + second.text
        assert first.json["id"] == second.json["id"]
    assert len(provider.stored()) == ROUNDS


def test_nothing_answered_is_lost_or_doubled_when_web_workers_are_killed(
    site: Site, provider: Provider, pool: ThreadPoolExecutor
) -> None:
    answers = {
        key: pool.submit(provider.send_until_answered, key)
        for key in (f"load-{number}" for number in range(CLIENTS * RECORDS))
    }
    for _ in range(2):
        wait_for_more(answers.values())
        eventually(lambda: len(web_workers(site)) == 2, lambda: site.up.text)
        os.kill(web_workers(site)[0], signal.SIGKILL)
    answered = {key: answer.result() for key, answer in answers.items()}
    assert provider.stored() == answered
    eventually(lambda: len(web_workers(site)) == 2, lambda: site.up.text)


def test_nothing_answered_is_lost_when_everything_is_killed(
    site: Site, provider: Provider, pool: ThreadPoolExecutor
) -> None:
    answers = {
        key: pool.submit(provider.send_until_answered, key)
        for key in (f"crash-{number}" for number in range(CLIENTS * 20))
    }
    wait_for_more(answers.values())
    started = descendants(site.up.pid)
    site.up.kill9()
    assert_all_end(started)
    site.restart()
    answered = {key: answer.result() for key, answer in answers.items()}
    assert provider.stored() == answered
