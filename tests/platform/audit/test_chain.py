"""The audit log is one chain: whatever is done to it outside of billtrack is found."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from apiflask import APIFlask
from flask_migrate import downgrade, upgrade
from sqlalchemy import event, func, select, text
from sqlalchemy.exc import DBAPIError

from billtrack.accounts.users.operations import update_user
from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.platform import audit
from billtrack.platform.audit.models import AuditEntry, AuditHead, AuditPersonalValue
from billtrack.platform.audit.operations import erase_personal_values
from billtrack.platform.audit.verification import LogBroken, verify
from billtrack.platform.db import after_commit, transaction
from billtrack.platform.extensions import db
from tests.cast import Cast
from tests.effort import times
from tests.platform.audit.writing import (
    NOW,
    cut_off,
    exchange,
    note,
    note_alone,
    remove,
    tamper,
    writing,
)
from tests.usage.racing import in_threads


def broken() -> str:
    with pytest.raises(LogBroken) as found:
        verify()
    return found.value.detail


def test_it_is_whole_when_nobody_touched_it(log: int) -> None:
    found = verify()
    assert (found.entries, found.last_id) == (db.session.query(AuditEntry).count(), log + 5)
    head = db.session.query(AuditHead).one()
    assert (head.last_id, head.count, head.hash) == (log + 5, found.entries, found.head)


@pytest.mark.parametrize(
    "changed",
    [
        "action = 'thing.left'",
        "object_id = 9",
        "actor_user_id = NULL",
        "at = (SELECT max(at) FROM audit_entries)",
        """changes = '{"number": 3, "state": {"before": "on", "after": "on"}}'""",
    ],
)
def test_it_names_the_entry_that_was_altered(log: int, changed: str) -> None:
    tamper(f"UPDATE audit_entries SET {changed} WHERE id = :id", id=log + 2)
    assert f"Entry {log + 2} (" in broken()


def test_it_names_where_an_entry_was_removed(log: int) -> None:
    remove(log + 2)
    assert f"Entry {log + 3} does not follow entry {log + 1}" in broken()


def test_it_names_the_first_of_entries_that_changed_places(log: int) -> None:
    exchange(log + 1, log + 3)
    assert f"Entry {log + 1} (" in broken()


def test_it_misses_what_was_cut_off_at_the_end(log: int) -> None:
    tamper(
        "DELETE FROM audit_personal_values WHERE entry_id >= :id",
        "DELETE FROM audit_entries WHERE id >= :id",
        id=log + 4,
    )
    assert f"after {log + 3} are missing: the chain ended with {log + 5}" in broken()


def test_a_head_kept_elsewhere_finds_an_end_that_was_cut_off_with_its_head(log: int) -> None:
    kept = verify()
    note_alone(7)
    assert verify(known_head=kept.head).known_at == log + 5
    cut_off(log + 4)
    assert verify().last_id == log + 3  # the log itself cannot know
    with pytest.raises(LogBroken, match="does not come by the head"):
        verify(known_head=kept.head)


@pytest.mark.parametrize(
    ("statement", "named"),
    [
        ("UPDATE audit_personal_values SET value = 'Eve'", "value name was altered"),
        ("UPDATE audit_personal_values SET salt = NULL", "value name was altered"),
        ("UPDATE audit_personal_values SET user_id = 8", "is not what was written"),
        ("DELETE FROM audit_personal_values", "is not what was written"),
    ],
)
def test_it_names_a_personal_value_that_was_altered(log: int, statement: str, named: str) -> None:
    tamper(f"{statement} WHERE entry_id = :id AND field = 'name'", id=log + 2)
    assert f"Entry {log + 2} (" in broken()
    assert named in broken()


def test_it_names_an_entry_that_was_put_in(log: int) -> None:
    columns = "at, actor_user_id, request_id, action, object_type, object_id, changes, hash"
    tamper(
        f"INSERT INTO audit_entries (id, {columns})"
        f" SELECT id + 6, {columns} FROM audit_entries WHERE id = :id",
        id=log,
    )
    assert f"Entry {log + 6} (" in broken()


def test_it_misses_its_end(log: int) -> None:
    tamper("DELETE FROM audit_head")
    assert "audit_head is missing" in broken()


def test_erasing_a_person_is_no_tampering(log: int) -> None:
    with transaction():
        assert erase_personal_values([7]) == 12
    assert verify().erased == 12
    left = db.session.query(AuditPersonalValue).filter_by(user_id=7)
    assert {(one.before, one.value, one.salt) for one in left} == {(None, None, None)}
    with transaction():
        assert erase_personal_values([7]) == 0


def test_the_database_refuses_to_change_it(log: int) -> None:
    db.session.rollback()
    for statement in (
        "UPDATE audit_entries SET action = 'x'",
        "DELETE FROM audit_entries",
        "DELETE FROM audit_personal_values",
        "DELETE FROM audit_head",
        "UPDATE audit_personal_values SET value = 'x'",
        "UPDATE audit_personal_values SET value = NULL",
        "UPDATE audit_personal_values SET value = NULL, before = NULL, salt = NULL, user_id = 1",
    ):
        with pytest.raises(DBAPIError, match="append-only"), writing() as connection:
            connection.execute(text(statement))
    assert verify().last_id == log + 5


def test_writers_at_once_make_one_chain(app: APIFlask) -> None:
    before = verify().entries

    def write() -> None:
        for number in range(times(8)):
            note_alone(number)

    in_threads(app, [write] * 6)
    found = verify()
    assert found.entries == before + 6 * times(8)
    assert found.last_id == db.session.scalar(select(func.max(AuditEntry.id)))
    ids = list(db.session.scalars(select(AuditEntry.id).order_by(AuditEntry.id)))
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_the_entries_are_the_last_statements_before_the_commit(app: APIFlask, cast: Cast) -> None:
    said: list[str] = []
    engine = db.engine

    def note_statement(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        said.append(statement.split(maxsplit=1)[0] + " " + statement.partition("audit_")[2][:7])

    event.listen(engine, "before_cursor_execute", note_statement)
    with transaction():
        note()
        given: dict[str, Any] = {"actor": audit.Actor(), "reach": Reach(Breadth.ALL, 0)}
        update_user(cast.customer.id, **given, now=NOW, name="Another", email=None)
        note()
    event.remove(engine, "before_cursor_execute", note_statement)
    assert [one for one in said if not one.startswith("BEGIN")][-4:] == [
        *("SELECT head.la", "INSERT entries", "INSERT persona", "UPDATE head SE")
    ]
    assert sum("head" in one for one in said) == 2  # one lock for three entries
    assert "UPDATE " in said[-5]


def test_what_is_rolled_back_leaves_no_entry(log: int) -> None:
    heard: list[str] = []
    with suppress(ZeroDivisionError), transaction():
        note("thing.lost")
        raise ZeroDivisionError
    with transaction() as session:
        note("thing.kept", 1)
        undone = session.begin_nested()
        note("thing.undone", 2)
        after_commit(lambda: heard.append("undone"))
        with session.begin_nested():
            note("thing.undone", 3)
        undone.rollback()
        with session.begin_nested():
            note("thing.kept", 4)
            after_commit(lambda: heard.append("kept"))
    kept = db.session.query(AuditEntry).filter(AuditEntry.id > log + 5).order_by(AuditEntry.id)
    assert [(one.action, one.object_id) for one in kept] == [("thing.kept", 1), ("thing.kept", 4)]
    assert heard == ["kept"]
    assert verify().last_id == log + 7


def test_trying_a_transaction_again_does_not_double_its_entries(log: int) -> None:
    for attempt in range(2):
        try:
            with transaction() as session:
                note("thing.tried")
                if attempt == 0:
                    session.execute(text("SELECT nothing FROM nowhere"))
        except DBAPIError:
            continue
    assert db.session.query(AuditEntry).filter_by(action="thing.tried").count() == 1


def test_entries_belong_inside_a_transaction(app: APIFlask) -> None:
    with pytest.raises(RuntimeError, match="inside transaction"):
        note()


def test_an_upgrade_chains_the_entries_that_are_there(log: int, app: APIFlask) -> None:
    entries = db.session.query(AuditEntry).count()
    with transaction():
        erase_personal_values([7])
    note_alone(7)
    downgrade(revision="0006")
    with writing() as connection:
        kept = connection.scalar(text("SELECT count(*) FROM audit_personal_values WHERE 1 = 1"))
        assert kept
        connection.execute(text("DELETE FROM audit_personal_values WHERE entry_id = :i"), {"i": 2})
        connection.execute(text("DELETE FROM audit_entries WHERE id = 2"))
    upgrade()
    db.session.remove()
    assert verify().entries == entries
    note_alone(8)
    assert verify().entries == entries + 1
    values = db.session.query(AuditPersonalValue).filter_by(entry_id=log + 6, field="address").one()
    assert (values.user_id, values.value) == (None, "192.0.2.7")
