"""An app with a primary and a streaming replica that tests pause, stop and start again.

Requests have an app context of their own here, as they have in a web server: what a request
has written decides where it reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psycopg
import pytest
from apiflask import APIFlask
from flask import jsonify
from flask.typing import ResponseReturnValue
from sqlalchemy import text

from billtrack.accounts import access
from billtrack.entrypoints.app import create_app
from billtrack.platform.extensions import REPLICA, db
from billtrack.platform.replica import lag
from billtrack.platform.replica.lag import Replica
from billtrack.platform.replica.reading import may_be_old
from tests.cast import Cast, create_cast
from tests.conftest import COMPILED_TEMPLATES, make_settings
from tests.scenarios.harness import eventually
from tests.services import PostgresServer, StandbyServer, start_standby, unique_name

T = TypeVar("T")


class Site:
    """An app with its replica, to ask from outside of any app context."""

    def __init__(self, app: APIFlask, primary: PostgresServer, standby: StandbyServer) -> None:
        self.app = app
        self.primary = primary
        self.standby = standby
        self.cast: Cast = self.inside(create_cast)
        self.probe: Callable[[], Any] = where
        self.app.add_url_rule("/api/v1/probe", view_func=access.public(may_be_old(self._answer)))

    @property
    def replica(self) -> Replica:
        found = self.app.extensions[REPLICA]
        assert isinstance(found, Replica)
        return found

    def inside(self, action: Callable[[], T]) -> T:
        with self.app.app_context():
            return action()

    def get(self, path: str) -> Any:
        """Ask as the manager; return what the API answers."""
        answer = self.app.test_client(use_cookies=False).get(
            path, headers={"Authorization": f"Bearer {self.cast.manager.key}"}
        )
        assert answer.status_code == 200, answer.get_data(as_text=True)
        return answer.get_json()

    def reads_replica(self) -> bool:
        """Tell whether what may be old is read from the replica now."""
        self.probe = where
        return bool(self.ask_probe())

    def ask_probe(self) -> Any:
        """Run `probe` as a view that reads what may be old; return what it returns."""
        return self.get("/api/v1/probe")

    def _answer(self) -> ResponseReturnValue:
        return jsonify(self.probe())

    def wait_for_replica(self) -> None:
        eventually(self.reads_replica, "everything reads the primary")

    def wait_for_primary(self) -> None:
        eventually(lambda: not self.reads_replica(), "the replica is still read")

    def wait_until_replayed(self) -> None:
        """Wait until the replica has all that the primary has now."""
        with psycopg.connect(self.primary.url) as connection:
            row = connection.execute("SELECT pg_current_wal_insert_lsn()::text").fetchone()
        assert row is not None
        with psycopg.connect(self.standby.url, autocommit=True) as connection:
            query = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
            eventually(lambda: connection.execute(query, row).fetchone() == (True,), row)


def where() -> bool:
    return bool(db.session.scalar(text("SELECT pg_is_in_recovery()")))


@pytest.fixture(scope="session")
def standby(postgres: PostgresServer) -> Iterator[StandbyServer]:
    server = start_standby(postgres)
    yield server
    server.close()


@pytest.fixture
def site(
    postgres: PostgresServer,
    postgres_template: str,
    standby: StandbyServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    # Looked at often, so that tests go on; patient, so that a busy machine changes nothing.
    monkeypatch.setattr(lag, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(lag, "TRY_AGAIN_SECONDS", 0.2)
    monkeypatch.setattr(lag, "CATCH_UP_SECONDS", 30)
    name = unique_name()
    url = postgres.create_database(name, template=postgres_template)
    app = create_app(
        make_settings(tmp_path, database_url=url, replica_url=standby.url_of(name)),
        statement_seconds=20,
    )
    app.testing = True
    app.jinja_env.bytecode_cache = COMPILED_TEMPLATES
    made = Site(app, postgres, standby)
    made.replica.max_lag = 60
    made.get("/api/v1/me")  # the first use of a key is written down, and then not for a minute
    yield made
    with app.app_context():
        for engine in db.engines.values():
            engine.dispose()
    postgres.drop_database(name)


@pytest.fixture
def paused(site: Site) -> Iterator[Site]:
    """A replica in use that receives everything and shows nothing of it from now on."""
    site.wait_for_replica()
    site.wait_until_replayed()
    site.standby.pause()
    yield site
    site.standby.resume()


@pytest.fixture
def stopped(site: Site) -> Iterator[Site]:
    """A replica in use that has just been stopped."""
    site.wait_for_replica()
    site.standby.stop()
    yield site
    site.standby.restart()
