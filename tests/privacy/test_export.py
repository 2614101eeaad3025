"""The export of a person's data: one ZIP, everything about them, nothing about others."""

from __future__ import annotations

import json
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from apiflask import APIFlask
from sqlalchemy import insert, select

from billtrack.platform.audit.models import AuditEntry
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from billtrack.privacy.export import stream_export
from billtrack.privacy.personal_data import HOLDINGS
from billtrack.usage.records.models import UsageRecord
from tests.cast import Cast, create_record
from tests.privacy import people
from tests.privacy.people import unpack

ON_SQLITE = pytest.mark.parametrize("settings", ["sqlite"], indirect=True)


def test_it_holds_what_is_known_and_no_secret(app: APIFlask, cast: Cast) -> None:
    person = people.create_person(cast)
    people.use(cast, person)
    people.give_past(person)
    answer = cast.admin.post(f"/api/v1/users/{person.id}/export")
    assert answer.mimetype == "application/zip"
    assert f"user-{person.id}-" in answer.headers["Content-Disposition"]
    files = unpack(answer.data)
    assert set(files) == {"README.txt", *(f"{name}.json" for name in HOLDINGS)}
    held: dict[str, Any] = {name: json.loads(files[f"{name}.json"]) for name in HOLDINGS}
    (account,) = held["account"]
    assert (account["name"], account["email"]) == (people.NAME, people.EMAIL)
    first, *_ = held["usage_records"]
    assert (first["quantity"], first["metadata"]) == (400_000, {"who": people.NAME})
    assert [row["reason"] for row in held["usage_records"]][-1] == "Jane Quimby asked for it"
    filled = ("sessions", "letters", "reports", "one_time_links", "subscriptions", "usage_daily")
    assert all(held[name] for name in filled)
    assert [key["name"] for key in held["api_keys"]] == ["Quimby laptop"]
    assert {row["action"] for row in held["audit_entries"]} >= {"user.created", "user.exported"}
    assert {row["value"] for row in held["audit_values"]} >= {people.NAME, people.FIRST_NAME}
    everything = "".join(files.values())
    for secret in ("argon2", "_hash", "seed", person.key.key):
        assert secret not in everything


@ON_SQLITE
def test_it_holds_nothing_of_others_and_is_noted(app: APIFlask, cast: Cast) -> None:
    create_record(cast, quantity=987_654_321, user=cast.other_customer)
    create_record(cast)
    files = unpack(cast.customer.post(f"/api/v1/users/{cast.customer.id}/export").data)
    everything = "".join(files.values())
    assert "987654321" not in everything
    assert cast.other_customer.user.email not in everything
    db.session.rollback()
    noted = select(AuditEntry.actor_user_id, AuditEntry.object_id)
    rows = db.session.execute(noted.where(AuditEntry.action == "user.exported")).all()
    assert [tuple(row) for row in rows] == [(cast.customer.id, cast.customer.id)]


@ON_SQLITE
def test_it_needs_no_more_memory_for_more_records(app: APIFlask, cast: Cast) -> None:
    add_records(cast, 500)
    list(stream_export(cast.customer.id, now=datetime.now(UTC)))
    few = peak_of_an_export(cast)
    add_records(cast, 9_000)
    assert peak_of_an_export(cast) < few + 6 * 1024**2


def add_records(cast: Cast, number: int) -> None:
    now = datetime.now(UTC)
    row = {"user_id": cast.customer.id, "meter_id": 1, "quantity": 1, "occurred_at": now}
    row |= {"created_at": now, "recorded_by_id": cast.provider.id, "details": {"k": "v" * 1_000}}
    with transaction():
        db.session.execute(insert(UsageRecord), [row] * number)


def peak_of_an_export(cast: Cast) -> int:
    """Return how many bytes Python needs at most, when what is made is thrown away at once."""
    db.session.rollback()
    tracemalloc.start()
    try:
        for _ in stream_export(cast.customer.id, now=datetime.now(UTC)):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
