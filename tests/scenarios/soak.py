"""Writers with overlapping batches, while web and database are killed at random moments.

    python -m tests.scenarios.soak [--seconds 120] [--database sqlite|postgresql] [--seed 7]

At the end there is one record for each key that was sent, and every rollup is the sum of its
records. The seed decides what is sent and who dies; what meets what is up to the machine.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from billtrack.accounts.users.permissions import Role
from tests.effort import times
from tests.scenarios.accounts import create_account
from tests.scenarios.books import Usage, assert_books_agree
from tests.scenarios.harness import Installation, Running, eventually
from tests.scenarios.load import EVENTS, until_answered
from tests.services import PostgresServer, start_postgres

WRITERS = 8
CUSTOMERS = 5
BATCH = 40
OVERLAP = 25
RETRY_SECONDS = 100.0
MOST_BETWEEN = 40
"""Batches between two deaths at most."""


class Soak:
    """Everybody who writes, and what was told of each record."""

    def __init__(self, installation: Installation, *, seed: int) -> None:
        self.installation = installation
        self.answered = 0
        self.deaths: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._provider = create_account(installation, Role.PROVIDER, "soak@test.example")
        self._customers = [
            create_account(installation, Role.CUSTOMER, f"soak-{n}@test.example").id
            for n in range(CUSTOMERS)
        ]
        self._web: Running | None = None
        self._lock = threading.Lock()
        self._next = 0
        self._sent: dict[str, Usage] = {}
        self._accepted: Counter[str] = Counter()
        self._is_over = threading.Event()

    def run(self, *, seconds: float, database: PostgresServer | None) -> None:
        """Let everybody write so long, and each that can die at least once; then compare."""
        deaths: list[Callable[[], None]] = [self._kill_web]
        if database is not None:
            deaths.append(lambda: self._kill_database(database))
        self._start_web()
        try:
            with ThreadPoolExecutor(WRITERS) as pool:
                seeds = [self._random.random() for _ in range(WRITERS)]
                writers = [pool.submit(self._write, random.Random(seed)) for seed in seeds]
                for writer in writers:
                    writer.add_done_callback(lambda _: self._is_over.set())  # one has failed
                try:
                    self._kill(deaths, until=time.monotonic() + seconds)
                finally:
                    self._is_over.set()
                for writer in writers:
                    writer.result()
            self.installation.close()  # its connections have died
            self._compare()
        finally:
            if self._web is not None:
                self._web.kill9()

    def told(self) -> str:
        """Return in a line what has happened."""
        died = ", ".join(f"{who} {times} times" for who, times in sorted(self.deaths.items()))
        return f"{len(self._sent)} records in {self.answered} batches; killed: {died}"

    def _kill(self, deaths: Sequence[Callable[[], None]], *, until: float) -> None:
        while True:
            for die in self._random.sample(deaths, len(deaths)):
                wanted = self.answered + self._random.randint(WRITERS, MOST_BETWEEN)
                eventually(
                    lambda w=wanted: self.answered >= w or self._is_over.is_set(),  # type: ignore[misc]
                    self.told,
                )
                if self._is_over.is_set():
                    return
                time.sleep(self._random.uniform(0, 0.1))  # somewhere within what comes next
                die()
            if time.monotonic() >= until:
                return

    def _kill_web(self) -> None:
        assert self._web is not None
        self._web.kill9()
        self.deaths["web"] += 1
        self._start_web()

    def _kill_database(self, database: PostgresServer) -> None:
        database.kill9()
        self.deaths["database"] += 1
        time.sleep(self._random.uniform(0, 0.3))  # the web has time to notice
        database.restart()

    def _start_web(self) -> None:
        web = self._web = self.installation.start("serve")
        eventually(self.installation.answers, lambda: web.text)

    def _write(self, dice: random.Random) -> None:
        """Send one batch after the other, each until it is answered."""
        known: list[str] = []
        while not self._is_over.is_set():
            names = self._pick(dice)
            records = [{**asdict(self._sent[key]), "idempotency_key": key} for key in names]
            wrong = dice.sample(known, min(3, len(known)))
            records += [{**asdict(self._sent[key]), "idempotency_key": key} for key in wrong]
            for record in records[len(names) :]:
                record["quantity"] += 1
            answer = until_answered(
                self.installation,
                "/api/v1/usage/batch",
                {"records": records},
                account_key=self._provider.key,
                seconds=RETRY_SECONDS,
            )
            self._check(names, wrong, answer.json["results"])
            known = names

    def _pick(self, dice: random.Random) -> list[str]:
        """Return keys to send: new ones, some that others send too, and some twice."""
        with self._lock:
            first = max(0, self._next - dice.randint(0, OVERLAP))
            self._next = max(self._next, first + BATCH)
            keys = [f"soak-{n}" for n in range(first, first + BATCH)]
            for number, key in enumerate(keys, first):
                usage = Usage(
                    self._customers[number % CUSTOMERS], EVENTS[number % len(EVENTS)], number + 1
                )
                self._sent.setdefault(key, usage)
        keys += dice.sample(keys, 5)
        dice.shuffle(keys)
        return keys

    def _check(
        self, names: Sequence[str], wrong: Sequence[str], results: Sequence[dict[str, Any]]
    ) -> None:
        statuses = [result["status"] for result in results]
        assert set(statuses[: len(names)]) <= {"accepted", "duplicate"}, results
        assert statuses[len(names) :] == ["conflict"] * len(wrong), results
        with self._lock:
            self.answered += 1
            told = zip(names, statuses, strict=False)
            self._accepted.update(key for key, status in told if status == "accepted")

    def _compare(self) -> None:
        assert_books_agree(self.installation, self._sent, recorded_by_id=self._provider.id)
        assert max(self._accepted.values()) == 1, "a key was accepted twice"
        verified = self.installation.run("verify")
        assert verified.returncode == 0, verified.stdout + verified.stderr


def main() -> None:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=times(120), help="on each database")
    parser.add_argument("--database", choices=["sqlite", "postgresql"], help="default: both")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    asked = parser.parse_args()
    for name in [asked.database] if asked.database else ["sqlite", "postgresql"]:
        print(f"{name}: {asked.seconds:g} seconds, --seed {asked.seed}", flush=True)
        with ExitStack() as cleaning:
            folder = Path(cleaning.enter_context(tempfile.TemporaryDirectory(prefix="soak-")))
            database = None
            if name == "postgresql":
                started = start_postgres(fsync=True)
                cleaning.callback(started.close)
                assert isinstance(started, PostgresServer), "it must be ours to kill"
                database = started
            url = database.create_database("soak") if database else None
            installation = Installation(folder, database_url=url)
            cleaning.callback(installation.close)
            assert installation.run("init").returncode == 0
            soak = Soak(installation, seed=asked.seed)
            soak.run(seconds=asked.seconds, database=database)
            print(f"{name}: {soak.told()}; nothing lost, nothing twice", flush=True)


if __name__ == "__main__":
    main()
