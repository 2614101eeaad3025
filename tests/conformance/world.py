"""Database and app for one way: preparing the state before, reading the state after."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from apiflask import APIFlask
from flask.testing import FlaskClient
from sqlalchemy import text

from billtrack.platform.config import Settings
from billtrack.platform.db import transaction
from billtrack.platform.extensions import db
from tests.conformance import hooks
from tests.conformance.people import BUDGET, People, Source
from tests.conformance.records import GONE, OWN, RECORDS, Person, Record, Shift
from tests.conftest import SECRET

USAGE, BATCH = "/api/v1/usage/", "/api/v1/usage/batch"
COUNTED = ("accepted", "late", "duplicate", "conflict", "rejected", "reversed")

EVENT_ADDED = f"""
INSERT INTO meters (code, name, base_unit, display_unit, display_factor)
VALUES ('{GONE}', 'Gone', 'unit', 'units', 1)
"""
EVENT_GONE = f"UPDATE meters SET code = 'another' WHERE code = '{GONE}'"
CUSTOMER_DEACTIVATED = "UPDATE users SET deactivated_at = :at WHERE id = :customer"
MONTH_FILLED = (
    """
INSERT INTO usage_daily (user_id, meter_id, day, quantity, count)
SELECT :customer, id, '2025-06-01', :held, 1 FROM meters WHERE code = 'api_calls'
""",
    """
INSERT INTO usage_monthly (user_id, meter_id, month, quantity)
SELECT :customer, id, '2025-06-01', :held FROM meters WHERE code = 'api_calls'
""",
)
SPOILED = {
    "revoked": "UPDATE api_keys SET revoked_at = :at WHERE id = :key",
    "expired": "UPDATE api_keys SET expires_at = :at WHERE id = :key",
    "narrowed": """UPDATE api_keys SET scopes = '["usage:read"]' WHERE id = :key""",
    "deactivated": "UPDATE users SET deactivated_at = :at WHERE id = :sender",
    "demoted": "UPDATE users SET role = 'customer' WHERE id = :sender",
}
"""Statements that make a credential bad after the process has seen it good."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class World:
    """App with its accounts and the watch on its parts."""

    app: APIFlask
    database: str
    people: People
    watch: hooks.Watch

    @property
    def environment(self) -> Mapping[str, str]:
        """The settings of the app as commands read them."""
        settings: Settings = self.app.extensions["billtrack.settings"]
        url = settings.database_url
        return {
            "BILLTRACK_DATA_DIR": str(settings.data_dir),
            "BILLTRACK_SECRET_KEY": SECRET.get_secret_value(),
            "BILLTRACK_TIMEZONE": settings.timezone,
            "BILLTRACK_BACKFILL_DAYS": str(settings.backfill_days),
            "DATABASE_URL": url.get_secret_value() if url else "",
        }

    @property
    def client(self) -> FlaskClient:
        return self.app.test_client(use_cookies=False)

    def source(self, record: Record) -> Source:
        return self.people.sources[record.name]

    def body(self, record: Record, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the record as it is sent now."""
        values = record.fields if fields is None else fields
        return {name: self._read(value, self.source(record)) for name, value in values.items()}

    def neighbours(self, number: int) -> list[dict[str, Any]]:
        """Return good records to stand beside another."""
        good = {"event": "cpu_time", "quantity": 1, "occurred_at": "2025-06-15T12:00:00Z"}
        return [{"user_id": self.people.neighbour_id, **good} for _ in range(number)]

    def _read(self, value: Any, source: Source) -> Any:
        if value is OWN:
            return source.customer_id
        if value is Person.MANAGER:
            return self.people.manager_id
        return instant(value).isoformat() if isinstance(value, Shift) else value


SendEarlier = Callable[[World, Record, Mapping[str, Any]], None]


def instant(shift: Shift) -> datetime:
    return datetime.now(UTC) + timedelta(seconds=shift.seconds)


def prepare(world: World, send_earlier: SendEarlier) -> None:
    """Send what is sent earlier, then make bad what has to be bad."""
    run("UPDATE api_keys SET used_at = :now", now=stored_instant(datetime.now(UTC)))
    run(EVENT_ADDED)
    for record in RECORDS:
        for fields in record.earlier:
            send_earlier(world, record, record.fields_of(fields))
    hooks.see_keys([source.key for source in world.people.sources.values()])
    for record in RECORDS:
        _spoil(world, record)


def _spoil(world: World, record: Record) -> None:
    source = world.source(record)
    statements = [SPOILED[record.credential]] if record.credential in SPOILED else []
    statements += [CUSTOMER_DEACTIVATED] if record.is_deactivated else []
    statements += [*MONTH_FILLED] if record.month_holds else []
    statements += [EVENT_GONE] if record.is_event_gone else []
    for statement in statements:
        run(
            statement,
            at=stored_instant(datetime.now(UTC) - timedelta(seconds=1)),
            key=source.key_id,
            sender=source.sender_id,
            customer=source.customer_id,
            held=record.month_holds,
        )
    if record.credential == "spent":
        _spend_all(world, source)


def _spend_all(world: World, source: Source) -> None:
    # The debt takes hours to work off; an all-or-nothing batch keeps nothing.
    answer = world.client.post(
        f"{BATCH}?on_error=reject",
        json={"records": [None] * (3 * BUDGET)},
        headers={"Authorization": f"Bearer {source.key}"},
    )
    assert answer.status_code == 422, answer.get_data(as_text=True)


@dataclass(frozen=True)
class Stand:
    """State of the database: records, keys by record id, rollups, source counts, rejections."""

    records: Mapping[int, Row]
    keys: Mapping[int, tuple[bytes, bytes]]
    days: Counter[tuple[int, str, str, str]]
    counts: Counter[tuple[int, str]]
    rejections: Sequence[tuple[int, int, str]]


def stand() -> Stand:
    """Return the state of the database."""
    hooks.store_counts()
    db.session.rollback()
    rows = [
        _plain(row)
        for row in ask("SELECT r.*, m.code FROM usage_records r JOIN meters m ON m.id = r.meter_id")
    ]
    days: Counter[tuple[int, str, str, str]] = Counter()
    for row in ask("SELECT d.*, m.code FROM usage_daily d JOIN meters m ON m.id = d.meter_id"):
        for name in ("quantity", "count"):
            days[row["user_id"], row["code"], str(row["day"]), name] = row[name]
    counts: Counter[tuple[int, str]] = Counter()
    for row in ask("SELECT * FROM usage_source_hours"):
        for name in COUNTED:
            counts[row["account_id"], name] += row[name]
    keys = ask("SELECT key_hash, record_id, fingerprint FROM usage_keys")
    rejected = ask("SELECT id, account_id, code FROM usage_rejected_records ORDER BY id")
    return Stand(
        records={row["id"]: row for row in rows},
        keys={k["record_id"]: (as_bytes(k["key_hash"]), bytes(k["fingerprint"])) for k in keys},
        days=days,
        counts=counts,
        rejections=[(one["id"], one["account_id"], one["code"]) for one in rejected],
    )


def as_bytes(key: bytes | UUID) -> bytes:
    """Return a key as SQLite has it; PostgreSQL has it as uuid."""
    return key.bytes if isinstance(key, UUID) else bytes(key)


def ask(query: str, **values: Any) -> list[Row]:
    return [dict(row) for row in db.session.execute(text(query), values).mappings()]


def run(statement: str, **values: Any) -> None:
    with transaction() as session:
        wanted = text(statement)
        session.execute(wanted, {name: values[name] for name in wanted.compile().params})


def stored_instant(at: datetime) -> datetime | str:
    """Return an instant as the columns of this database take it."""
    if db.engine.dialect.name == "postgresql":
        return at
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def _plain(row: Row) -> dict[str, Any]:
    """Return a stored record with Python's own types, whichever database it comes from."""
    values = dict(row)
    for name in ("occurred_at", "created_at"):
        if isinstance(values[name], str):
            values[name] = datetime.fromisoformat(values[name]).replace(tzinfo=UTC)
        values[name] = values[name].astimezone(UTC)
    if isinstance(values["metadata"], str):
        values["metadata"] = json.loads(values["metadata"])
    return values
