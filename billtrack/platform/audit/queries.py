"""Read the audit log: entries with what they say about people, the newest first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, select, true

from billtrack.platform.audit.models import AuditEntry, AuditPersonalValue
from billtrack.platform.extensions import db


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries to list; None means any. From `starts_at` until before `ends_at`."""

    actor_user_id: int | None = None
    action: str | None = None
    object_type: str | None = None
    object_id: int | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PersonalValue:
    """What an entry says about a person; nothing of it is left once it is erased."""

    before: str | None
    value: str | None
    is_erased: bool


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry with its personal values by field."""

    id: int
    at: datetime
    actor_user_id: int | None
    actor_api_key_id: int | None
    request_id: str | None
    action: str
    object_type: str
    object_id: int | None
    changes: Mapping[str, Any]
    personal: Mapping[str, PersonalValue]


def list_entries(
    *, matching: EntryFilter, before_id: int | None = None, limit: int = 50
) -> list[EntryView]:
    """Return up to `limit` entries, the newest first, with an id below `before_id`."""
    query = select(AuditEntry).where(_matching(matching))
    if before_id is not None:
        query = query.where(AuditEntry.id < before_id)
    entries = db.session.scalars(query.order_by(AuditEntry.id.desc()).limit(limit)).all()
    personal = _personal([entry.id for entry in entries])
    return [_view(entry, personal[entry.id]) for entry in entries]


def known_actions() -> Sequence[str]:
    """Return every action that the log holds, by name."""
    return db.session.scalars(
        select(AuditEntry.action).distinct().order_by(AuditEntry.action)
    ).all()


def _view(entry: AuditEntry, personal: Mapping[str, PersonalValue]) -> EntryView:
    return EntryView(
        id=entry.id,
        at=entry.at,
        actor_user_id=entry.actor_user_id,
        actor_api_key_id=entry.actor_api_key_id,
        request_id=entry.request_id,
        action=entry.action,
        object_type=entry.object_type,
        object_id=entry.object_id,
        changes=entry.changes,
        personal=personal,
    )


def _personal(entry_ids: Sequence[int]) -> Mapping[int, dict[str, PersonalValue]]:
    found: dict[int, dict[str, PersonalValue]] = defaultdict(dict)
    query = select(AuditPersonalValue).where(AuditPersonalValue.entry_id.in_(entry_ids))
    for row in db.session.scalars(query.order_by(AuditPersonalValue.field)):
        value = PersonalValue(row.before, row.value, is_erased=row.salt is None)
        found[row.entry_id][row.field] = value
    return found


def _matching(matching: EntryFilter) -> ColumnElement[bool]:
    equal = (
        (AuditEntry.actor_user_id, matching.actor_user_id),
        (AuditEntry.action, matching.action),
        (AuditEntry.object_type, matching.object_type),
        (AuditEntry.object_id, matching.object_id),
    )
    conditions = [column == value for column, value in equal if value is not None]
    if matching.starts_at is not None:
        conditions.append(AuditEntry.at >= matching.starts_at)
    if matching.ends_at is not None:
        conditions.append(AuditEntry.at < matching.ends_at)
    return and_(true(), *conditions)
