"""Faults inside the database: while rows are written, and after they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from billtrack.platform.db import transaction
from billtrack.platform.driver import is_postgresql
from billtrack.platform.extensions import db
from billtrack.usage.ingest.store import postgresql

FAULTY = 666
"""A quantity at which the database fails, once everything else was written."""

_ON_SQLITE = f"""
CREATE TRIGGER fault AFTER INSERT ON usage_records WHEN NEW.quantity = {FAULTY}
BEGIN SELECT RAISE(ABORT, 'a fault while writing'); END
"""
_ON_POSTGRESQL = f"""
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'a fault while writing'; END $$;
CREATE TRIGGER fault AFTER INSERT ON usage_records FOR EACH ROW
WHEN (NEW.quantity = {FAULTY}) EXECUTE FUNCTION fail()
"""


def fail_at_quantity() -> None:
    """Make the database fail whenever a record of FAULTY is written."""
    with transaction():
        db.session.execute(text(_ON_POSTGRESQL if is_postgresql() else _ON_SQLITE))


@contextmanager
def commits(
    monkeypatch: pytest.MonkeyPatch,
    *,
    lost: frozenset[int] | set[int] = frozenset(),
    before: Callable[[], None] = lambda: None,
) -> Iterator[list[int]]:
    """Count what stores records; of those in `lost`, from 1, the answer is lost afterwards."""
    done: list[int] = []

    def lose() -> bool:
        done.append(len(done) + 1)
        return done[-1] in lost

    with monkeypatch.context() as patched:
        if is_postgresql():
            _watch_statements(patched, before, lose)
        else:
            _watch_commits(patched, before, lose)
        yield done


def _watch_statements(
    patched: pytest.MonkeyPatch, before: Callable[[], None], lose: Callable[[], bool]
) -> None:
    append = postgresql.append

    def losing(driver: psycopg.Connection[Any], records: Any) -> list[int]:
        before()
        ids = append(driver, records)
        if lose():
            driver.close()
            raise psycopg.OperationalError("the connection is gone")
        return ids

    patched.setattr(postgresql, "append", losing)


def _watch_commits(
    patched: pytest.MonkeyPatch, before: Callable[[], None], lose: Callable[[], bool]
) -> None:
    dialect: Any = db.engine.dialect
    real = dialect.do_commit

    def do_commit(connection: Any) -> None:
        before()
        real(connection)
        if lose():
            raise OperationalError("COMMIT", {}, Exception("the connection is gone"))

    patched.setattr(dialect, "do_commit", do_commit)
