"""A replica that falls behind, breaks off or goes away costs nothing but its help."""

from __future__ import annotations

import csv
import gc
import io
import re
from collections.abc import Callable, Iterator, MutableMapping
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from apiflask import APIFlask
from psycopg import sql
from pydantic import SecretStr
from sqlalchemy import event, text
from structlog.testing import capture_logs

from billtrack.accounts.users.permissions import Role
from billtrack.entrypoints.app import create_app
from billtrack.entrypoints.cli.doctor import diagnose
from billtrack.platform.extensions import db
from billtrack.platform.replica.reading import COOKIE, may_be_old
from billtrack.usage.ingest.intake import submit
from billtrack.usage.records.submissions import UsageInput
from tests.cast import PASSWORD, create_record, create_user, sign_in, terms
from tests.platform.replica.conftest import Site, where
from tests.scenarios.harness import eventually
from tests.services import PostgresServer
from tests.usage.racing import in_threads


def test_it_reads_the_primary_while_the_replica_is_behind_and_comes_back(paused: Site) -> None:
    paused.inside(lambda: create_record(paused.cast))
    assert paused.get("/api/v1/usage")["data"] == []
    paused.replica.max_lag = 0.4
    with capture_logs() as logs:
        eventually(lambda: paused.get("/api/v1/usage")["data"], "the record is not listed")
        assert [paused.reads_replica() for _ in range(20)] == [False] * 20
        paused.replica.max_lag = 60
        paused.standby.resume()
        paused.wait_until_replayed()
        paused.wait_for_replica()
    assert len(paused.get("/api/v1/usage")["data"]) == 1
    assert events(logs) == ["replica_unused", "replica_used"]
    assert "more than 0.4 seconds behind" in [log.get("reason") for log in logs]


def test_it_is_not_called_behind_on_a_primary_that_nobody_writes_to(site: Site) -> None:
    site.wait_for_replica()
    site.replica._fresh_at -= 100  # a quiet night
    site.replica._look_at = 0
    site.replica._marks.clear()
    site.wait_for_replica()


def test_it_goes_on_without_the_replica_and_takes_it_up_again(site: Site) -> None:
    site.wait_for_replica()
    with capture_logs() as logs:
        site.standby.stop()
        assert [site.reads_replica() for _ in range(10)] == [False] * 10
        site.standby.start()
        site.wait_for_replica()
    assert events(logs) == ["replica_unused", "replica_used"]


def test_a_replica_that_dies_while_it_is_read_is_left(site: Site) -> None:
    database = (
        site.app.extensions["billtrack.settings"].database_url.get_secret_value().rpartition("/")[2]
    )

    def die() -> None:
        with psycopg.connect(site.standby.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                [database],
            )

    site.wait_for_replica()
    site.probe = lambda: read_twice(die)
    assert site.ask_probe() is False


@pytest.fixture
def impatient(site: Site) -> Iterator[Site]:
    """A replica that waits for no snapshot when it has to replay what removes rows."""
    set_standby(site, "max_standby_streaming_delay", "'10ms'")
    yield site
    set_standby(site, "max_standby_streaming_delay", "DEFAULT")


def test_a_snapshot_in_the_way_of_the_replay_is_read_again_from_the_primary(
    impatient: Site,
) -> None:
    def remove_rows() -> None:
        create_and_remove(impatient)
        impatient.wait_until_replayed()

    impatient.wait_for_replica()
    impatient.probe = lambda: read_twice(remove_rows)
    assert impatient.ask_probe() is False
    impatient.wait_for_replica()


def test_a_statement_in_the_way_of_the_replay_is_tried_again_on_the_primary(
    impatient: Site,
) -> None:
    impatient.wait_for_replica()

    def read_slowly() -> bool:
        db.session.execute(text("SELECT count(*) FROM worker_heartbeats"))
        if is_replica := where():
            db.session.execute(text("SELECT pg_sleep(15)"))
        return is_replica

    found: list[Any] = []

    def conflict() -> None:
        eventually(lambda: is_sleeping(impatient), "nobody reads")
        create_and_remove(impatient)

    impatient.probe = read_slowly
    with capture_logs() as logs:
        in_threads(impatient.app, [lambda: found.append(impatient.ask_probe()), conflict])
    assert found == [False]
    assert events(logs) == ["replica_conflict"]
    assert impatient.reads_replica()


def test_a_statement_out_of_time_is_not_tried_again(site: Site) -> None:
    runs: list[bool] = []

    def read_too_slowly() -> None:
        runs.append(where())
        db.session.execute(text("SET LOCAL statement_timeout = '50ms'"))
        db.session.execute(text("SELECT pg_sleep(20)"))

    site.wait_for_replica()
    site.probe = read_too_slowly
    answer = site.app.test_client().get("/api/v1/probe")
    assert (answer.status_code, answer.get_json()["code"]) == (503, "statement_timeout")
    assert runs == [True]
    assert site.reads_replica()


# The driver never counts a cursor as closed whose server went away.
@pytest.mark.filterwarnings("ignore:.*ServerCursor:ResourceWarning")
def test_an_export_that_the_replica_breaks_off_goes_on_from_the_primary(site: Site) -> None:
    def prepare() -> None:
        now = datetime.now(UTC)
        inputs = [UsageInput(site.cast.customer.id, "api_calls", 1 + n, now) for n in range(3500)]
        submit(inputs, terms=terms(site.cast.provider))

    site.inside(prepare)
    user = site.inside(
        lambda: create_user(role=Role.MANAGER, email="eva@test.example", password=PASSWORD)
    )
    browser = site.app.test_client()
    sign_in(browser, user)
    browser.delete_cookie(COOKIE)
    site.wait_until_replayed()
    site.wait_for_replica()
    answer = browser.get("/usage/export.csv")
    read: list[str] = []
    replica = site.replica.engine
    event.listen(replica, "before_cursor_execute", lambda *seen: read.append(seen[2]))
    parts = answer.iter_encoded()
    sent = [next(parts), next(parts)]  # the head and a thousand records
    assert any("usage_records" in statement for statement in read)
    site.standby.stop()
    sent += list(parts)
    site.standby.start()
    found = csv.DictReader(io.StringIO(b"".join(sent).decode("utf-8-sig")))
    assert [int(row["Quantity"]) for row in found] == list(range(3500, 0, -1))
    del answer, parts
    gc.collect()


def test_what_is_no_replica_is_never_read(site: Site, postgres: PostgresServer) -> None:
    settings = site.app.extensions["billtrack.settings"]
    for wrong in (settings.database_url, SecretStr(postgres.url), SecretStr(site.standby.url)):
        app = create_app(settings.model_copy(update={"replica_url": wrong}))
        with app.app_context(), capture_logs() as logs:
            assert may_be_old(where)() is False
        assert "names no replica" in logs[0]["reason"]
        assert "FAIL replica: DATABASE_REPLICA_URL names no replica" in doctor(app)
        with app.app_context():
            for engine in db.engines.values():
                engine.dispose()


def test_doctor_says_how_far_behind_it_is(site: Site) -> None:
    def is_told() -> bool:  # the server writes a little by itself, too
        return "ok replica: streams, up to date" in doctor(site.app)

    eventually(is_told, lambda: doctor(site.app))
    site.standby.pause()
    site.inside(lambda: create_record(site.cast))
    told = doctor(site.app)
    site.standby.resume()
    assert re.search(r"replica: (streams, )?[\d.]+.k?B and \d+ s behind", told), told
    eventually(is_told, lambda: doctor(site.app))


def test_doctor_says_that_it_is_away(stopped: Site) -> None:
    assert "FAIL replica: " in doctor(stopped.app)


def test_doctor_says_that_it_receives_nothing(site: Site) -> None:
    site.wait_until_replayed()
    with psycopg.connect(site.standby.url) as connection:
        row = connection.execute("SHOW primary_conninfo").fetchone()
    assert row is not None
    set_standby(site, "primary_conninfo", "''")
    told = "FAIL replica: receives nothing from the primary; it is "
    eventually(lambda: told in doctor(site.app), lambda: doctor(site.app))
    set_standby(site, "primary_conninfo", sql.Literal(row[0]).as_string(None))
    eventually(lambda: "ok replica: streams" in doctor(site.app), lambda: doctor(site.app))


def test_doctor_compares_connections_with_what_is_granted(site: Site) -> None:
    assert "ok connections: at most 45 at once, of 197 that PostgreSQL grants" in doctor(site.app)
    settings = site.app.extensions["billtrack.settings"]
    many = settings.model_copy(update={"web_workers": 64})
    told = [finding.text for finding in diagnose(site.app, many) if not finding.is_fine]
    assert any("web and worker may need 1223 at once, PostgreSQL grants 197" in t for t in told)


def doctor(app: APIFlask) -> str:
    found = diagnose(app, app.extensions["billtrack.settings"])
    return "\n".join(f"{'ok' if one.is_fine else 'FAIL'} {one.text}" for one in found)


def read_twice(meanwhile: Callable[[], None]) -> bool:
    """Read from one snapshot, and again after what happens on the replica meanwhile."""
    db.session.execute(text("SELECT count(*) FROM worker_heartbeats"))
    if where():
        meanwhile()
    return where()


def create_and_remove(site: Site) -> None:
    """Remove rows for good, so that no snapshot from before can be read any more."""
    url = site.app.extensions["billtrack.settings"].database_url.get_secret_value()
    with psycopg.connect(url, autocommit=True) as connection:
        now = "now() AT TIME ZONE 'UTC'"
        for number in range(50):
            connection.execute(f"INSERT INTO worker_heartbeats VALUES ('w{number}', {now}, {now})")
        connection.execute("DELETE FROM worker_heartbeats")
        connection.execute("VACUUM (FREEZE) worker_heartbeats")


def is_sleeping(site: Site) -> bool:
    query = "SELECT FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(15)' AND state = 'active'"
    with psycopg.connect(site.standby.url) as connection:
        return connection.execute(query).fetchone() is not None


def set_standby(site: Site, name: str, value: str) -> None:
    with psycopg.connect(site.standby.url, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET {name} = {value}".encode())
        connection.execute("SELECT pg_reload_conf()")


def events(logs: list[MutableMapping[str, Any]]) -> list[Any]:
    """Return what was logged about the replica; requests are logged, too."""
    return [log["event"] for log in logs if log["event"].startswith("replica")]
