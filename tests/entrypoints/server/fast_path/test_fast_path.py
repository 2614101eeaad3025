"""The lane in the loop stores what is as it was seen before; of all else the long way decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from apiflask import APIFlask
from sqlalchemy import text, update

from billtrack.accounts.credentials import key_cache
from billtrack.accounts.users.models import ApiKey, User
from billtrack.core.rates import Rate
from billtrack.platform.async_connection import LoopConnection
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.platform.limits import Budget
from billtrack.platform.limits.requests import LIMITER
from billtrack.usage.ingest import optimistic
from billtrack.usage.records.models import Meter, UsageDaily, UsageMonthly
from tests.api.refusals import row_counts
from tests.cast import Cast, Member
from tests.entrypoints.server.fast_path.loops import LoopFirst, before, see
from tests.scenarios.harness import eventually
from tests.usage.ingest.test_intake import assert_rollups_equal_records

USAGE = "/api/v1/usage/"

on_postgresql = pytest.mark.parametrize("settings", ["postgresql"], indirect=True)


@pytest.fixture
def loop(app: APIFlask, cast: Cast) -> Iterator[LoopFirst]:
    """The web with a loop before it that has met everybody."""
    with transaction():
        db.session.execute(update(ApiKey).values(used_at=datetime.now(UTC)))
    with before(app) as first:
        see(cast)
        yield first


def post(cast: Cast, member: Member | None = None, **changes: Any) -> tuple[int, dict[str, Any]]:
    body = {"quantity": 5, "event": "api_calls", "user_id": cast.customer.id, **changes}
    answer = (member or cast.provider).post(USAGE, body)
    return answer.status_code, answer.get_json()


def change(table: Any, **values: Any) -> None:
    with transaction():
        db.session.execute(update(table).values(**values))


def test_it_answers_in_the_loop_what_is_plain(cast: Cast, loop: LoopFirst) -> None:
    status, body = post(cast, idempotency_key="k", metadata={"n": 1e3, "region": "Zürich"})
    assert (status, loop.statuses) == (201, [201])
    assert cast.provider.get(f"{USAGE}{body['id']}").get_json() == body
    assert row_counts()["usage_keys"] == 1
    assert_rollups_equal_records()


def test_it_reads_in_the_loop_what_is_plain(
    app: APIFlask, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGTZ", "Asia/Kolkata")
    reversed_id = post(cast, idempotency_key="k", metadata={"a": 1.5})[1]["id"]
    path = f"{USAGE}{reversed_id}"
    reversal = cast.provider.post(f"{path}/reverse", {"reason": "wrong"}).get_json()
    expected = [cast.provider.get(f"{USAGE}{n}").get_data() for n in (reversed_id, reversal["id"])]
    change(ApiKey, used_at=datetime.now(UTC))
    with before(app) as loop:
        see(cast)
        found = [cast.provider.get(f"{USAGE}{n}").get_data() for n in (reversed_id, reversal["id"])]
        assert (found, loop.statuses) == (expected, [200, 200])
        assert cast.stranger.get(path).status_code == 404
        assert cast.provider.get(f"{USAGE}999").status_code == 404
        change(ApiKey, revoked_at=datetime.now(UTC))
        assert cast.provider.get(path).status_code == 401
        assert loop.statuses == [200, 200]


@on_postgresql
@pytest.mark.parametrize(
    ("what", "status"),
    [
        (lambda _cast: change(ApiKey, revoked_at=datetime.now(UTC)), 401),
        (lambda _cast: change(ApiKey, scopes=["usage:read"]), 403),
        (lambda _cast: change(ApiKey, expires_at=datetime.now(UTC) - timedelta(hours=1)), 401),
        (lambda _cast: change(ApiKey, expires_at=datetime.now(UTC) + timedelta(hours=1)), 201),
        (lambda _cast: change(User, role="customer"), 403),
        (lambda _cast: change(User, deactivated_at=datetime.now(UTC)), 401),
        (lambda cast: deactivate(cast.customer), 422),
        (lambda _cast: rename_meters(), 422),
        (lambda cast: fill_month(cast, 10**18), 422),
    ],
    ids=[
        *("revoked", "scopes", "expired", "expires", "role", "owner deactivated"),
        *("user deactivated", "meters", "all of the month"),
    ],
)  # fmt: skip
def test_it_lets_the_long_way_decide_when_something_has_changed(
    cast: Cast, loop: LoopFirst, what: Callable[[Cast], None], status: int
) -> None:
    assert post(cast)[0] == 201
    what(cast)
    before = row_counts()["usage_records"]
    assert post(cast)[0] == status
    assert loop.statuses == [201]
    assert row_counts()["usage_records"] == before + (status == 201)
    if status == 201:  # seen anew
        assert post(cast)[0] == 201


def deactivate(member: Member) -> None:
    with transaction():
        wanted = update(User).where(User.id == member.id)
        db.session.execute(wanted.values(deactivated_at=datetime.now(UTC)))


def rename_meters() -> None:
    with transaction():
        db.session.execute(update(Meter).values(code=Meter.code + "_before"))


def fill_month(cast: Cast, quantity: int) -> None:
    """Let the month hold so much, as records of another day would."""
    today = datetime.now(UTC).date()
    another = today.replace(day=1 if today.day > 1 else 2)
    with transaction():
        meter_id = db.session.query(Meter.id).filter_by(code="api_calls").scalar()
        own = {"user_id": cast.customer.id, "meter_id": meter_id}
        month = db.session.get_one(UsageMonthly, {**own, "month": today.replace(day=1)})
        month.quantity = quantity
        db.session.add(UsageDaily(**own, day=another, quantity=quantity, count=1))


def test_it_knows_a_record_that_was_sent_before(cast: Cast, loop: LoopFirst) -> None:
    first = post(cast, idempotency_key="k")
    assert post(cast, idempotency_key="k") == (200, first[1])
    assert post(cast, idempotency_key="k", quantity=6)[0] == 409
    assert row_counts()["usage_records"] == 1
    assert_rollups_equal_records()


def test_it_spends_once_for_a_record_that_goes_another_way(
    app: APIFlask, cast: Cast, loop: LoopFirst, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left(key: str) -> int:
        body = {"quantity": 5, "event": "api_calls", "user_id": cast.customer.id}
        answer = cast.provider.post(USAGE, {**body, "idempotency_key": key})
        return int(answer.headers["RateLimit"].partition("r=")[2].partition(";")[0])

    still = SimpleNamespace(monotonic=lambda: 1000.0)
    for module in ("buckets", "limiter"):
        monkeypatch.setattr(f"billtrack.platform.limits.{module}.time", still)
    limiter = app.extensions[LIMITER]
    monkeypatch.setattr(limiter, "rates", {**limiter.rates, Budget.USAGE: Rate(1000, 60)})
    first = left("k")
    assert [first - left(key) for key in ("k", "k", "new")] == [1, 2, 3]


@on_postgresql
def test_it_says_that_it_is_not_known_when_the_answer_is_lost(
    cast: Cast, loop: LoopFirst, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = psycopg.AsyncConnection.execute

    async def losing(connection: Any, statement: Any, values: Any = None, **options: Any) -> Any:
        cursor = await execute(connection, statement, values, **options)
        if b"usage_records" in statement:
            await connection.close()
            raise psycopg.OperationalError("the connection is gone")
        return cursor

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.AsyncConnection, "execute", losing)
        status, body = post(cast, idempotency_key="k")
    assert (status, body["code"]) == (503, "unavailable")
    assert row_counts()["usage_records"] == 1
    assert post(cast, idempotency_key="k")[0] == 200
    assert post(cast)[0] == 201
    assert loop.statuses == [503, 201]
    assert_rollups_equal_records()


@on_postgresql
def test_it_never_stores_twice_when_something_fails_after_the_commit(
    cast: Cast, loop: LoopFirst, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_counted: object) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(optimistic, "settle", fail)
        assert post(cast)[0] == 503
    assert row_counts()["usage_records"] == 1


@on_postgresql
def test_it_tries_each_by_itself_when_a_group_cannot_be_made(
    cast: Cast, loop: LoopFirst, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_keys: object) -> None:
        raise ValueError("on purpose")

    with monkeypatch.context() as patched:
        patched.setattr(key_cache, "as_row", fail)
        assert post(cast)[0] == 201
    assert loop.statuses == []
    assert row_counts()["usage_records"] == 1


@on_postgresql
def test_it_takes_a_new_connection_when_the_server_has_ended_the_old_one(
    cast: Cast, loop: LoopFirst
) -> None:
    assert post(cast)[0] == 201
    with transaction():
        ended = db.session.scalar(text(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ))  # fmt: skip
    assert ended
    assert [post(cast)[0] for _ in range(2)] == [201, 201]
    assert loop.statuses == [201, 201, 201]


@on_postgresql
def test_it_stores_together_what_is_sent_while_another_is_stored(
    app: APIFlask, cast: Cast, loop: LoopFirst, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    execute = LoopConnection.execute
    gathering: Any = loop.lane.store._storing

    async def holding(connection: LoopConnection, statement: str, values: Any) -> Any:
        sizes.append(values["rows"].count("user_id"))
        while len(sizes) == 1 and len(gathering._waiting) < 4:  # noqa: ASYNC110 (no event tells)
            await asyncio.sleep(0.01)
        return await execute(connection, statement, values)

    def ask(number: int) -> int:
        with app.app_context():
            user = cast.stranger if number == 4 else cast.customer
            key = "k0" if number == 3 else f"k{number}"
            return post(cast, user_id=user.id, idempotency_key=key)[0]

    monkeypatch.setattr(LoopConnection, "execute", holding)
    with ThreadPoolExecutor(5) as threads:
        first = threads.submit(ask, 0)
        eventually(lambda: bool(sizes), "the first is being stored")
        others = list(threads.map(ask, [1, 2, 3, 4]))
    assert (first.result(), sizes[0]) == (201, 1)
    # One came under the key of the first: the others are stored without it, and it is looked up.
    assert sorted(others) == [200, 201, 201, 201]
    assert loop.statuses == [201] * 4
    assert sizes in ([1, 4, 2, 2, 1, 1], [1, 4, 2, 1, 1, 2])
    assert row_counts()["usage_records"] == 4
    assert_rollups_equal_records()
