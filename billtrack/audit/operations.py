"""Write audit entries; the caller's transaction stores them with the change itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from billtrack.audit.actor import Actor
from billtrack.audit.models import AuditEntry, AuditPersonalValue
from billtrack.extensions import db

Plain = str | int | bool | None


def record(
    action: str,
    *,
    actor: Actor,
    now: datetime,
    object_type: str,
    object_id: int | None = None,
    changes: Mapping[str, Plain] | None = None,
    personal: Mapping[str, str] | None = None,
) -> None:
    """Add one entry to the current transaction.

    `changes` holds new values without secrets; whatever is about a person (e-mail, name,
    address) belongs in `personal`, which can be erased later.
    """
    entry = AuditEntry(
        at=now,
        actor_user_id=actor.user_id,
        actor_api_key_id=actor.api_key_id,
        request_id=actor.request_id,
        action=action,
        object_type=object_type,
        object_id=object_id,
        changes=dict(changes or {}),
    )
    db.session.add(entry)
    db.session.flush()
    values = dict(personal or {})
    if actor.address:
        values["address"] = actor.address
    for field, value in values.items():
        db.session.add(AuditPersonalValue(entry_id=entry.id, field=field, value=value))
