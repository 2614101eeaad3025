"""/audit: who did what."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field, JsonValue

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.api.v1.blueprint import api
from billtrack.api.v1.schemas import (
    BillingDate,
    Cursor,
    Limit,
    Query,
    QueryId,
    from_cursor,
    page,
    read_period,
)
from billtrack.platform.audit.queries import EntryFilter, EntryView, list_entries
from billtrack.platform.extensions import current_calendar
from billtrack.usage.ingest.fields import PlainText

Word = Annotated[PlainText, Field(max_length=64)]


class PersonalValueOut(BaseModel):
    """What an entry says about a person: before and after, or that it was erased."""

    before: str | None
    after: str | None
    erased: bool


class AuditEntryOut(BaseModel):
    """An entry. `changes` has values, or {"before", "after"} for fields that had one before."""

    id: int
    at: datetime
    actor_user_id: int | None
    actor_api_key_id: int | None
    request_id: str | None
    action: str
    object_type: str
    object_id: int | None
    changes: dict[str, JsonValue]
    personal: dict[str, PersonalValueOut]


class AuditList(BaseModel):
    """Entries, the newest first."""

    data: list[AuditEntryOut]
    next_cursor: str | None


class AuditQuery(Query):
    """Which entries to list; `user_id` is who did it, days are billing days."""

    user_id: QueryId | None = None
    action: Word | None = None
    object_type: Word | None = None
    object_id: QueryId | None = None
    first: Annotated[BillingDate | None, Field(alias="from")] = None
    last: Annotated[BillingDate | None, Field(alias="to")] = None
    limit: Limit = 50
    cursor: Cursor | None = None


@api.get("/audit")
@access.require(Permission.AUDIT_READ)
@api.input(AuditQuery, location="query")
@api.output(AuditList)
def list_audit_entries(query_data: AuditQuery) -> tuple[dict[str, Any], int, dict[str, str]]:
    """List what was done, the newest first."""
    entries = list_entries(
        matching=_filter(query_data),
        before_id=from_cursor(query_data.cursor),
        limit=query_data.limit + 1,
    )
    return page([_entry_json(entry) for entry in entries], limit=query_data.limit)


def _filter(query: AuditQuery) -> EntryFilter:
    days = read_period(month=None, first=query.first, last=query.last, default=None)
    starts_at, ends_at = current_calendar().period_of(days) if days else (None, None)
    return EntryFilter(
        actor_user_id=query.user_id,
        action=query.action,
        object_type=query.object_type,
        object_id=query.object_id,
        starts_at=starts_at,
        ends_at=ends_at,
    )


def _entry_json(entry: EntryView) -> dict[str, Any]:
    personal = {
        field: {"before": value.before, "after": value.value, "erased": value.is_erased}
        for field, value in entry.personal.items()
    }
    return {
        "id": entry.id,
        "at": entry.at,
        "actor_user_id": entry.actor_user_id,
        "actor_api_key_id": entry.actor_api_key_id,
        "request_id": entry.request_id,
        "action": entry.action,
        "object_type": entry.object_type,
        "object_id": entry.object_id,
        "changes": dict(entry.changes),
        "personal": personal,
    }
