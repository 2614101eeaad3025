"""Single records of many threads at one moment: stored together, answered one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import update
from werkzeug.test import TestResponse

from billtrack.accounts.api_keys import revoke_api_key
from billtrack.accounts.key_format import API_KEY, new_secret
from billtrack.accounts.models import ApiKey
from billtrack.accounts.operations import deactivate_user
from billtrack.accounts.permissions import Breadth, Reach
from billtrack.db import transaction
from billtrack.express import reading, recording
from billtrack.extensions import app_combiner, db
from billtrack.usage import batch, intake
from billtrack.usage.batch import Outcome
from billtrack.usage.intake import submit_one
from billtrack.usage.queries import RecordView, records_by_id
from billtrack.usage.rules import UsageInput
from tests.api.refusals import row_counts
from tests.cast import SYSTEM, Cast, Member, create_record, terms
from tests.scenarios.harness import eventually
from tests.usage.faults import FAULTY, commits, fail_at_quantity
from tests.usage.test_intake import assert_rollups_equal_records

pytestmark = pytest.mark.usefixtures("keys_in_use")

EVERYTHING = Reach(Breadth.ALL, 0)
Ask = Callable[[], Any]


@pytest.fixture
def keys_in_use(cast: Cast) -> None:
    """Every key was seen just now: noting that is a commit of its own, and on the long way."""
    with transaction():
        db.session.execute(update(ApiKey).values(used_at=datetime.now(UTC)))


class Groups:
    """The groups that a combiner was given; the first is held until so many wait behind it."""

    def __init__(self, combiner: Any, gathering: int) -> None:
        self.taken: list[Sequence[Any]] = []
        self._combiner = combiner
        self._gathering = gathering
        self._run = combiner._run
        combiner._run = self._hold

    def _hold(self, items: Sequence[Any]) -> Any:
        self.taken.append(items)
        if len(self.taken) == 1:
            eventually(lambda: len(self._combiner._waiting) == self._gathering, "they gather")
        return self._run(items)

    @property
    def sizes(self) -> list[int]:
        return [len(items) for items in self.taken]


def ask_together(
    app: APIFlask, first: Ask, others: Sequence[Ask], *, run: Any = recording.record_together
) -> tuple[list[Any], Groups]:
    """Send the first and, while it is at work, the others; those come to be one group."""
    groups = Groups(app_combiner(run, at_most=intake.AT_ONCE), len(others))
    is_led = threading.Event()

    def ask(request: Ask) -> Any:
        with app.app_context():
            return request()

    with ThreadPoolExecutor(len(others) + 1) as threads:
        leading = threads.submit(ask, first)
        eventually(lambda: groups.taken or leading.done(), "the first is taken")
        is_led.set()
        answers = list(threads.map(ask, others))
        return [leading.result(), *answers], groups


def posting(member: Member, user: Member, key: str | None = None, **changes: Any) -> Ask:
    body = {"quantity": 5, "event": "api_calls", "user_id": user.id, **changes}
    if key is not None:
        body["idempotency_key"] = key
    return lambda: member.post("/api/v1/usage/", body)


def test_it_answers_each_of_a_group_as_if_it_were_alone(app: APIFlask, cast: Cast) -> None:
    original = create_record(cast, quantity=5, key="old")
    with transaction():
        deactivate_user(cast.stranger.id, actor=SYSTEM, now=datetime.now(UTC), reach=EVERYTHING)
    provider, other, user = cast.provider, cast.other_provider, cast.customer
    answers, groups = ask_together(
        app,
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


def test_it_stores_one_record_for_a_key_sent_twice_at_once(app: APIFlask, cast: Cast) -> None:
    send = posting(cast.provider, cast.customer, "k", metadata={"a": "b"})
    answers, groups = ask_together(app, posting(cast.provider, cast.customer), [send] * 3)
    assert groups.sizes == [1, 3]
    assert sorted(answer.status_code for answer in answers[1:]) == [200, 200, 201]
    assert len({answer.get_data() for answer in answers[1:]}) == 1
    assert row_counts()["usage_records"] == 2
    assert_rollups_equal_records()


def test_it_lets_nobody_in_with_the_group(app: APIFlask, cast: Cast) -> None:
    key_id = db.session.query(ApiKey.id).filter_by(user_id=cast.other_provider.id).scalar()
    with transaction():
        revoke_api_key(key_id, actor=SYSTEM, reach=EVERYTHING, now=datetime.now(UTC))
    refused = [
        posting(Member(cast.provider.user, new_secret(API_KEY)), cast.customer),
        posting(cast.other_provider, cast.customer),
        posting(cast.customer, cast.customer),
    ]
    allowed = posting(cast.provider, cast.customer)
    answers, groups = ask_together(app, allowed, [*refused, allowed])
    assert groups.sizes == [1, 4]
    assert [answer.status_code for answer in answers] == [201, 401, 401, 403, 201]
    assert row_counts()["usage_records"] == 2


def test_it_tries_each_alone_when_a_group_fails(app: APIFlask, cast: Cast) -> None:
    fail_at_quantity()
    send = [posting(cast.provider, cast.customer, f"k{n}", quantity=n) for n in (1, FAULTY, 3)]
    answers, groups = ask_together(app, posting(cast.provider, cast.customer), send)
    assert groups.sizes[:2] == [1, 3]
    statuses = [answer.status_code for answer in answers]
    assert statuses.pop(2) in {409, 500}  # how the databases call it
    assert statuses == [201, 201, 201]
    assert row_counts()["usage_records"] == row_counts()["usage_keys"] + 1 == 3
    assert_rollups_equal_records()


def test_it_never_stores_twice_when_the_answer_to_a_commit_is_lost(
    app: APIFlask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyed = posting(cast.provider, cast.customer, "k")
    first = posting(cast.provider, cast.customer)
    with commits(monkeypatch, lost={2}) as commit:
        answers, groups = ask_together(app, first, [keyed, first, first])
    assert groups.sizes == [1, 3]
    assert [answer.status_code for answer in answers] == [201, 503, 503, 503]
    assert len(commit) == 2
    assert row_counts()["usage_records"] == 4
    assert keyed().status_code == 200
    assert_rollups_equal_records()


def test_it_never_stores_twice_when_something_fails_after_the_commit(
    app: APIFlask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_submissions: object, outcomes: Sequence[Outcome]) -> None:
        if len(outcomes) > 1:
            raise OSError("no space left on device")

    monkeypatch.setattr(batch, "count_outcomes", fail)
    send = posting(cast.provider, cast.customer)
    answers, groups = ask_together(app, send, [send] * 3)
    assert groups.sizes == [1, 3]
    assert [answer.status_code for answer in answers] == [201, 503, 503, 503]
    assert row_counts()["usage_records"] == 4
    assert_rollups_equal_records()


def test_it_finds_what_was_stored_after_its_snapshot(app: APIFlask, cast: Cast) -> None:
    item = UsageInput(cast.customer.id, "api_calls", 5, idempotency_key="k", metadata={"a": 1})

    def record() -> tuple[RecordView, bool]:
        records_by_id([1])  # as a page does that knows its reader before it writes
        return submit_one(item, terms=terms(cast.provider))

    def record_another() -> tuple[RecordView, bool]:
        another = UsageInput(cast.customer.id, "api_calls", 5)
        return submit_one(another, terms=terms(cast.provider))

    answers, groups = ask_together(app, record_another, [record] * 2, run=intake.submit_together)
    assert groups.sizes == [1, 2]
    assert sorted(is_new for _, is_new in answers[1:]) == [False, True]
    assert [record.metadata for record, _ in answers[1:]] == [{"a": 1}] * 2


def test_it_answers_only_after_the_commit(
    app: APIFlask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered: list[int] = []

    def noting(ask: Ask) -> Ask:
        def run() -> TestResponse:
            answer: TestResponse = ask()
            answered.append(answer.status_code)
            return answer

        return run

    send = noting(posting(cast.provider, cast.customer))
    with commits(monkeypatch, before=lambda: counts.append(len(answered))):
        counts: list[int] = []
        _, groups = ask_together(app, send, [send] * 3)
    assert groups.sizes == [1, 3]
    assert counts[0] == 0
    assert counts[1] <= 1
    assert answered == [201] * 4


def test_it_shows_a_record_only_to_those_who_may_see_it(app: APIFlask, cast: Cast) -> None:
    record = create_record(cast)
    path = f"/api/v1/usage/{record.id}"
    members = [cast.provider, cast.other_provider, cast.customer, cast.stranger, cast.manager]
    asking = [lambda member=member: member.get(path) for member in members]
    missing: Ask = lambda: cast.admin.get(f"/api/v1/usage/{record.id + 1}")  # noqa: E731
    answers, groups = ask_together(app, missing, asking, run=reading.read_together)
    assert groups.sizes == [1, 5]
    assert [answer.status_code for answer in answers] == [404, 200, 404, 200, 404, 200]
