"""Machines that record usage and ask for reports, and try again until they are answered."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import asdict
from datetime import datetime
from itertools import count
from typing import Any

from sqlalchemy import select

from billtrack.accounts.users.permissions import Role
from billtrack.documents.reports.models import Report
from billtrack.platform.extensions import db
from tests.scenarios.accounts import Account, create_account
from tests.scenarios.books import Usage, assert_books_agree
from tests.scenarios.harness import Answer, Installation, Running, eventually
from tests.scenarios.jobs import let_leases_run_out, let_the_ring_die_away, wait_for_all

CUSTOMERS = 6
SINGLES = 90
BATCHES = 6
BATCH_SIZE = 25
REPORTS = 4
EVENTS = ("api_calls", "vm_uptime", "cpu_time", "data_storage")
FORMATS = ("pdf", "csv", "json")
RETRY_SECONDS = 100.0
numbers = count()


class Load:
    """Accounts of its own, what they send, and what must be found of it afterwards."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._name = f"load-{next(numbers)}"
        self._provider = self._account(Role.PROVIDER, "provider")
        self._manager = self._account(Role.MANAGER, "manager")
        self._customers = [self._account(Role.CUSTOMER, f"c{n}") for n in range(CUSTOMERS)]
        self._made = count()
        self._sent: dict[str, Usage] = {}
        self._asked: list[Future[Answer]] = []

    def start(self, pool: Executor) -> Sequence[Future[Answer]]:
        """Send single records, with batches and reports among them; return the answers to come."""
        answers = []
        for number in range(SINGLES):
            answers.append(pool.submit(self._record))
            if number % (SINGLES // BATCHES) == 0:
                answers.append(pool.submit(self._record_batch))
            if number % (SINGLES // REPORTS) == 0:
                self._asked.append(pool.submit(self._ask_for_report, len(self._asked)))
        return [*answers, *self._asked]

    def record(self, key: str, usage: Usage) -> Answer:
        """Send one record, once; raises OSError when nobody answers."""
        body = {**asdict(usage), "idempotency_key": key}
        return self._send("/api/v1/usage/", body, account_key=self._provider.key)

    def new(self) -> tuple[str, Usage]:
        """Return the next key and what is recorded under it."""
        number = next(self._made)
        customer = self._customers[number % CUSTOMERS]
        key = f"{self._name}-{number}"
        self._sent[key] = Usage(customer.id, EVENTS[number % len(EVENTS)], number + 1)
        return key, self._sent[key]

    def assert_all_is_well(self, worker: Running, *, died_at: datetime | None = None) -> None:
        """Let time pass for what waits for it, then compare the books with what was sent.

        What a worker had begun before `died_at` has nobody to end it.
        """
        for answer in self._asked:
            answer.result()
        if died_at is not None:
            let_leases_run_out(self._installation, started_before=died_at)
        let_the_ring_die_away(self._installation)
        wait_for_all(self._installation, worker)
        assert_books_agree(self._installation, self._sent, recorded_by_id=self._provider.id)
        ids = [customer.id for customer in self._customers]
        with self._installation.inside():
            query = select(Report.job_id).where(Report.user_id.in_(ids))
            jobs = sorted(map(str, db.session.scalars(query)))
        assert jobs == sorted(answer.result().json["jobId"] for answer in self._asked)

    def _record(self) -> Answer:
        key, usage = self.new()
        body = {**asdict(usage), "idempotency_key": key}
        return self._until_answered("/api/v1/usage/", body, account_key=self._provider.key)

    def _record_batch(self) -> Answer:
        made = [self.new() for _ in range(BATCH_SIZE)]
        records = [{**asdict(usage), "idempotency_key": key} for key, usage in made]
        answer = self._until_answered(
            "/api/v1/usage/batch", {"records": records}, account_key=self._provider.key
        )
        assert answer.json["accepted"] + answer.json["duplicate"] == BATCH_SIZE, answer.text
        return answer

    def _ask_for_report(self, number: int) -> Answer:
        return self._until_answered(
            f"/api/v1/reports/{self._customers[number % CUSTOMERS].id}",
            {"format": FORMATS[number % len(FORMATS)]},
            account_key=self._manager.key,
            headers={"Idempotency-Key": f"{self._name}-report-{number}"},
        )

    def _until_answered(
        self, path: str, body: Any, *, account_key: str, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return until_answered(
            self._installation,
            path,
            body,
            account_key=account_key,
            headers=headers,
            seconds=RETRY_SECONDS,
        )

    def _send(
        self, path: str, body: Any, *, account_key: str, headers: Mapping[str, str] | None = None
    ) -> Answer:
        return self._installation.ask(
            "POST", path, key=account_key, body=body, headers=headers, timeout=5
        )

    def _account(self, role: Role, name: str) -> Account:
        return create_account(self._installation, role, f"{self._name}-{name}@test.example")


def until_answered(
    installation: Installation,
    path: str,
    body: Any,
    *,
    account_key: str,
    seconds: float,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """Send the same again until it is answered, and not with 503; the answer must be good."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            answer = installation.ask(
                "POST", path, key=account_key, body=body, headers=headers, timeout=5
            )
        except OSError:
            answer = None
        if answer is not None and answer.status != 503:
            assert answer.status in {200, 201, 202}, f"{answer.status} {answer.text}"
            return answer
        time.sleep(0.05)  # a client gives the server a moment
    raise AssertionError(f"{path} was never answered: {body}")


def wait_for_a_third(answers: Sequence[Future[Answer]]) -> None:
    """Wait until another third of the answers has come."""

    def come() -> int:
        return sum(answer.done() for answer in answers)

    wanted = come() + len(answers) // 3
    eventually(lambda: come() >= wanted, lambda: f"{come()} answers, not {wanted}")
