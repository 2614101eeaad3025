"""Write audit entries; the caller's transaction stores them with the change itself.

They are kept aside until the transaction is about to commit, for the chain has one end: from
the lock on it to the commit nobody else can add an entry.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sqlalchemy import and_, insert, or_, select, update

from billtrack.platform.audit.actor import Actor
from billtrack.platform.audit.chain import SALT_BYTES, Link, chain_hash, personal_digest
from billtrack.platform.audit.models import AuditEntry, AuditHead, AuditPersonalValue
from billtrack.platform.db import before_commit, row_count
from billtrack.platform.extensions import db

Plain = str | int | bool | None

_AT_ONCE = {"render_nulls": True}
"""Rows with nothing in some columns go with the others, not in statements of their own."""


class Change(NamedTuple):
    """A field that had a value and has another now."""

    before: Plain
    after: Plain


class PersonalChange(NamedTuple):
    """A field about a person that had a value and has another now."""

    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class _Pending:
    """An entry without its place in the chain, and rows of its personal values."""

    values: dict[str, Any]
    personal: list[dict[str, Any]]


def record(
    action: str,
    *,
    actor: Actor,
    now: datetime,
    object_type: str,
    object_id: int | None = None,
    changes: Mapping[str, Plain | Change] | None = None,
    personal: Mapping[str, str | PersonalChange] | None = None,
    subject_id: int | None = None,
) -> None:
    """Add one entry to the current transaction.

    `changes` holds facts, and both values of fields that changed, without secrets; whatever is
    about a person (e-mail, name, words somebody wrote) belongs in `personal`, which can be
    erased later. It is about the account `subject_id`, or else about the object if that is
    an account.
    """
    if subject_id is None and object_type == "user":
        subject_id = object_id
    people = [_personal(field, value, subject_id) for field, value in (personal or {}).items()]
    if actor.address:
        people.append(_personal("address", actor.address, actor.user_id))
    values = {
        "at": now.astimezone(UTC),
        "actor_user_id": actor.user_id,
        "actor_api_key_id": actor.api_key_id,
        "request_id": actor.request_id,
        "action": action,
        "object_type": object_type,
        "object_id": object_id,
        "changes": {field: _plain(value) for field, value in (changes or {}).items()},
    }
    before_commit(_append, _Pending(values, sorted(people, key=lambda one: str(one["field"]))))


def erase_personal_values(user_ids: Sequence[int], *, saying: Collection[str] = ()) -> int:
    """Erase what the log says about these people; return how many values that were.

    And of values of which nobody knew whom they are about those that are one of `saying`.
    The entries stay, and so does the chain: it covers digests, which tell nothing without salt.
    """
    row = AuditPersonalValue
    says = or_(row.before.in_(saying), row.value.in_(saying))
    is_theirs = or_(row.user_id.in_(user_ids), and_(row.user_id.is_(None), says))
    erased = db.session.execute(
        update(AuditPersonalValue)
        .where(is_theirs, row.salt.is_not(None))
        .values(before=None, value=None, salt=None)
    )
    return row_count(erased)


def _plain(value: Plain | Change) -> Any:
    return value._asdict() if isinstance(value, Change) else value


def _personal(field: str, value: str | PersonalChange, user_id: int | None) -> dict[str, Any]:
    change = value if isinstance(value, PersonalChange) else PersonalChange(None, value)
    salt = secrets.token_bytes(SALT_BYTES)
    return {
        "field": field,
        "user_id": user_id,
        "before": change.before,
        "value": change.after,
        "salt": salt,
        "digest": personal_digest(salt, change.before, change.after),
    }


def _append(pending: Sequence[_Pending]) -> None:
    """Put the entries at the end of the chain, which is locked until the transaction ends."""
    end = select(AuditHead.last_id, AuditHead.count, AuditHead.hash).with_for_update()
    last_id, count, last_hash = db.session.execute(end).one()
    entries, personal = [], []
    for number, one in enumerate(pending, last_id + 1):
        people = [(row["field"], row["user_id"], row["digest"]) for row in one.personal]
        last_hash = chain_hash(last_hash, Link(**one.values, id=number, personal=people))
        entries.append({**one.values, "id": number, "hash": last_hash})
        personal += [{**row, "entry_id": number} for row in one.personal]
    db.session.execute(insert(AuditEntry), entries, execution_options=_AT_ONCE)
    if personal:
        db.session.execute(insert(AuditPersonalValue), personal, execution_options=_AT_ONCE)
    end_now = {"last_id": last_id + len(pending), "count": count + len(pending), "hash": last_hash}
    db.session.execute(update(AuditHead).values(**end_now))
