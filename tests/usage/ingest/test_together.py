"""Single records sent at one moment: stored together by the loop, answered one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from apiflask import APIFlask
from flask import current_app
from sqlalchemy import update
from werkzeug.test import TestResponse

from billtrack.accounts.credentials.api_keys import revoke_api_key
from billtrack.accounts.credentials.key_format import API_KEY, new_secret
from billtrack.accounts.lifecycle import deactivate_user
from billtrack.accounts.users.models import ApiKey
from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.platform.db import transaction
from billtrack.platform.driver import is_postgresql
from billtrack.platform.extensions import db
from billtrack.usage.ingest import intake
from billtrack.usage.ingest.intake import submit_one
from billtrack.usage.records.outcomes import Outcome
from billtrack.usage.records.queries import records_by_id
from billtrack.usage.records.submissions import UsageInput
from tests.api.refusals import row_counts
from tests.cast import SYSTEM, Cast, Member, create_record, terms
from tests.entrypoints.server.fast_path.loops import LoopFirst, before, see
from tests.scenarios.harness import eventually
from tests.usage.faults import FAULTY, commits, fail_at_quantity
from tests.usage.ingest.test_intake import assert_rollups_equal_records

EVERYTHING = Reach(Breadth.ALL, 0)
Ask = Callable[[], Any]

on_sqlite = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)
"""Its thread writes in a transaction; what PostgreSQL's one statement meets is in test_in_loop."""


@pytest.fixture
def loop(app: APIFlask, cast: Cast) -> Iterator[LoopFirst]:
    """The web with a loop before it. Every key was used just now: to note that is a commit."""
    with transaction():
        db.session.execute(update(ApiKey).values(used_at=datetime.now(UTC)))
    with before(app) as first:
        see(cast)
        yield first


class Groups:
    """The groups that a loop was given; the first is held until so many wait behind it."""

    def __init__(self, gathering: Any, waiting: int) -> None:
        self.taken: list[Sequence[Any]] = []
        self._gathering = gathering
        self._waiting = waiting
        self._run = gathering._run
        gathering._run = self._hold

    async def _hold(self, items: Sequence[Any]) -> Any:
        self.taken.append(items)
        if len(self.taken) == 1:
            await asyncio.to_thread(eventually, self._have_come, "they gather")
        return await self._run(items)

    def _have_come(self) -> bool:
        return len(self._gathering._waiting) == self._waiting

    @property
    def sizes(self) -> list[int]:
        return [len(items) for items in self.taken]


def ask_together(
    gathering: Any, first: Ask, others: Sequence[Ask], *, waiting: int | None = None
) -> tuple[list[Any], Groups]:
    """Send the first and, while it is at work, the others, of which `waiting` come to be a group.

    Without it, all of them.
    """
    groups = Groups(gathering, len(others) if waiting is None else waiting)
    app: Any = current_app._get_current_object()  # type: ignore[attr-defined]

    def ask(request: Ask) -> Any:
        with app.app_context():
            return request()

    with ThreadPoolExecutor(len(others) + 1) as threads:
        leading = threads.submit(ask, first)
        eventually(lambda: groups.taken or leading.done(), "the first is taken")
        answers = list(threads.map(ask, others))
        return [leading.result(), *answers], groups


def store_together(
    loop: LoopFirst, first: Ask, others: Sequence[Ask], **options: int
) -> tuple[list[Any], Groups]:
    return ask_together(loop.lane.store._storing, first, others, **options)


def posting(member: Member, user: Member, key: str | None = None, **changes: Any) -> Ask:
    body = {"quantity": 5, "event": "api_calls", "user_id": user.id, **changes}
    if key is not None:
        body["idempotency_key"] = key
    return lambda: member.post("/api/v1/usage/", body)


def test_it_answers_each_of_a_group_as_if_it_were_alone(cast: Cast, loop: LoopFirst) -> None:
    original = create_record(cast, quantity=5, key="old")
    with transaction():
        deactivate_user(cast.stranger.id, actor=SYSTEM, now=datetime.now(UTC), reach=EVERYTHING)
    provider, other, user = cast.provider, cast.other_provider, cast.customer
    answers, groups = store_together(
        loop,
        posting(provider, user, "first"),
        [
            posting(provider, user, "new"),
            posting(provider, user, "old"),
            posting(provider, user, "old", quantity=6),
            posting(provider, user, event="unheard_of"),
            posting(provider, cast.stranger),
            posting(provider, user, metadata={"n": 1e3, "b": True}),
            posting(other, user, "old", quantity=7),
            posting(provider, user),
            posting(provider, user),
        ],
    )
    assert groups.sizes == [1, 9]
    assert [answer.status_code for answer in answers] == [
        *(201, 201, 200, 409, 422, 422, 201, 201, 201, 201)
    ]
    bodies = [answer.get_json() for answer in answers]
    assert bodies[2]["id"] == original.id
    assert [bodies[n]["code"] for n in (3, 4, 5)] == [
        *("idempotency_conflict", "unknown_event", "inactive_user")
    ]
    assert bodies[7]["source"] == str(other.id)
    stored = {body["id"]: body for body in bodies if "id" in body}
    assert len(stored) == 7
    for record_id, body in stored.items():
        assert cast.admin.get(f"/api/v1/usage/{record_id}").get_json() == body
    assert row_counts()["usage_keys"] == 4
    assert_rollups_equal_records()


def test_it_stores_one_record_for_a_key_sent_twice_at_once(cast: Cast, loop: LoopFirst) -> None:
    send = posting(cast.provider, cast.customer, "k", metadata={"a": "b"})
    answers, groups = store_together(loop, posting(cast.provider, cast.customer), [send] * 3)
    assert groups.sizes == [1, 3]
    assert sorted(answer.status_code for answer in answers[1:]) == [200, 200, 201]
    assert len({answer.get_data() for answer in answers[1:]}) == 1
    assert row_counts()["usage_records"] == 2
    assert_rollups_equal_records()


def test_it_lets_nobody_in_with_the_group(cast: Cast, loop: LoopFirst) -> None:
    key_id = db.session.query(ApiKey.id).filter_by(user_id=cast.other_provider.id).scalar()
    with transaction():
        revoke_api_key(key_id, actor=SYSTEM, reach=EVERYTHING, now=datetime.now(UTC))
    refused = [
        posting(Member(cast.provider.user, new_secret(API_KEY)), cast.customer),
        posting(cast.other_provider, cast.customer),
        posting(cast.customer, cast.customer),
    ]
    allowed = posting(cast.provider, cast.customer)
    # On PostgreSQL only those are let into a group whose keys were good before.
    waiting = 2 if is_postgresql() else 4
    answers, groups = store_together(loop, allowed, [*refused, allowed], waiting=waiting)
    assert groups.sizes == [1, waiting]
    assert [answer.status_code for answer in answers] == [201, 401, 401, 403, 201]
    assert row_counts()["usage_records"] == 2


def test_it_tries_each_alone_when_a_group_fails(cast: Cast, loop: LoopFirst) -> None:
    fail_at_quantity()
    send = [posting(cast.provider, cast.customer, f"k{n}", quantity=n) for n in (1, FAULTY, 3)]
    answers, groups = store_together(loop, posting(cast.provider, cast.customer), send)
    assert groups.sizes[:2] == [1, 3]
    statuses = [answer.status_code for answer in answers]
    assert statuses.pop(2) in {409, 500}  # how the databases call it
    assert statuses == [201, 201, 201]
    assert row_counts()["usage_records"] == row_counts()["usage_keys"] + 1 == 3
    assert_rollups_equal_records()


@on_sqlite
def test_it_never_stores_twice_when_the_answer_to_a_commit_is_lost(
    cast: Cast, loop: LoopFirst, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyed = posting(cast.provider, cast.customer, "k")
    first = posting(cast.provider, cast.customer)
    with commits(monkeypatch, lost={2}) as commit:
        answers, groups = store_together(loop, first, [keyed, first, first])
    assert groups.sizes == [1, 3]
    assert [answer.status_code for answer in answers] == [201, 503, 503, 503]
    assert len(commit) == 2
    assert row_counts()["usage_records"] == 4
    assert keyed().status_code == 200
    assert_rollups_equal_records()


@on_sqlite
def test_it_never_stores_twice_when_something_fails_after_the_commit(
    cast: Cast, loop: LoopFirst, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_submissions: object, outcomes: Sequence[Outcome], **_options: bool) -> None:
        if len(outcomes) > 1:
            raise OSError("no space left on device")

    monkeypatch.setattr(intake, "settle", fail)
    send = posting(cast.provider, cast.customer)
    answers, groups = store_together(loop, send, [send] * 3)
    assert groups.sizes == [1, 3]
    assert [answer.status_code for answer in answers] == [201, 503, 503, 503]
    assert row_counts()["usage_records"] == 4
    assert_rollups_equal_records()


def test_it_finds_what_was_stored_after_its_snapshot(app: APIFlask, cast: Cast) -> None:
    item = UsageInput(cast.customer.id, "api_calls", 5, idempotency_key="k", metadata={"a": 1})

    def store() -> None:
        with app.app_context():
            submit_one(item, terms=terms(cast.provider))

    records_by_id([1])  # as a page does that knows its reader before it writes
    with ThreadPoolExecutor(1) as other:
        other.submit(store).result()
    record, is_new = submit_one(item, terms=terms(cast.provider))
    assert (record.metadata, is_new) == ({"a": 1}, False)


@on_sqlite
def test_it_answers_only_after_the_commit(
    cast: Cast, loop: LoopFirst, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[int] = []
    counts: list[int] = []

    def noting(ask: Ask) -> Ask:
        def run() -> TestResponse:
            answer: TestResponse = ask()
            answered.append(answer.status_code)
            return answer

        return run

    send = noting(posting(cast.provider, cast.customer))
    with commits(monkeypatch, before=lambda: counts.append(len(answered))):
        _, groups = store_together(loop, send, [send] * 3)
    assert groups.sizes == [1, 3]
    assert counts[0] == 0
    assert counts[1] <= 1
    assert answered == [201] * 4


def test_it_shows_a_record_only_to_those_who_may_see_it(cast: Cast, loop: LoopFirst) -> None:
    record = create_record(cast)
    path = f"/api/v1/usage/{record.id}"
    members = [cast.provider, cast.other_provider, cast.customer, cast.stranger, cast.manager]
    asking = [lambda member=member: member.get(path) for member in members]
    missing: Ask = lambda: cast.admin.get(f"/api/v1/usage/{record.id + 1}")  # noqa: E731
    answers, groups = ask_together(loop.lane.store._finding, missing, asking)
    assert groups.sizes == [1, 5]
    assert [answer.status_code for answer in answers] == [404, 200, 404, 200, 404, 200]
