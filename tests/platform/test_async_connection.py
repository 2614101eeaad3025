"""The connection of an event loop: limited, made anew when lost, honest about what came of it."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from apiflask import APIFlask

from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.server.fast_path.fast_path import loop_lane
from billtrack.platform import async_connection
from billtrack.platform.async_connection import AnswerLost, LoopConnection
from billtrack.platform.engines import Use
from billtrack.platform.extensions import db
from tests.conftest import make_settings

pytestmark = pytest.mark.parametrize("settings", ["postgresql"], indirect=True)

OWN = "SELECT pg_backend_pid(), current_setting('statement_timeout')"
END = "SELECT pg_terminate_backend(%(pid)s, 5000)"


def make() -> LoopConnection:
    return LoopConnection(db.engine, Use(1, 7))


def test_it_keeps_the_limits_and_its_connection(app: APIFlask) -> None:
    async def run() -> None:
        connection = make()
        both = await asyncio.gather(connection.execute(OWN, {}), connection.execute(OWN, {}))
        assert both[0] == both[1]
        assert both[0][0][1] == "7s"
        await connection.close()

    asyncio.run(run())


def test_it_connects_anew_when_the_server_has_ended_it(app: APIFlask) -> None:
    async def run() -> None:
        connection, other = make(), make()
        ((first, _),) = await connection.execute(OWN, {})
        assert await other.execute(END, {"pid": first}) == [(True,)]
        ((second, _),) = await connection.execute(OWN, {})
        assert second != first
        await connection.close()
        await other.close()

    asyncio.run(run())


def test_it_asks_after_a_rest_whether_anybody_is_there(
    app: APIFlask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_connection, "PING_SECONDS", -1)
    monkeypatch.setattr(async_connection, "has_arrived", lambda _connection: False)

    async def run() -> None:
        connection, other = make(), make()
        ((first, _),) = await connection.execute(OWN, {})
        assert (await connection.execute(OWN, {}))[0][0] == first
        await other.execute(END, {"pid": first})
        ((second, _),) = await connection.execute(OWN, {})
        assert second != first
        await connection.close()
        await other.close()

    asyncio.run(run())


def test_it_tells_what_is_not_known_from_what_was_refused(app: APIFlask) -> None:
    async def run() -> None:
        connection, other = make(), make()
        ((pid, _),) = await connection.execute(OWN, {})
        sleeping = asyncio.create_task(connection.execute("SELECT pg_sleep(60)", {}))
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE pid = %(pid)s AND state = 'active'"
        while (await other.execute(waiting, {"pid": pid}))[0][0] == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await other.execute(END, {"pid": pid})
        with pytest.raises(AnswerLost):
            await sleeping
        with pytest.raises(psycopg.errors.DivisionByZero):
            await connection.execute("SELECT 1 / 0", {})
        assert await connection.execute("SELECT 1", {}) == [(1,)]
        await connection.close()
        await other.close()

    asyncio.run(run())


def test_it_refuses_at_once_where_there_is_no_server(app: APIFlask) -> None:
    async def run() -> None:
        connection = make()
        connection._arguments["port"] = 1
        with pytest.raises(psycopg.OperationalError):
            await connection.execute(OWN, {})

    asyncio.run(run())


def test_there_is_no_lane_behind_pgbouncer(app: APIFlask) -> None:
    settings = app.extensions["billtrack.settings"]
    behind = create_app(
        make_settings(settings.data_dir, database_url=settings.sqlalchemy_url, pgbouncer=True)
    )
    assert loop_lane(behind) is None
    assert loop_lane(app) is not None
