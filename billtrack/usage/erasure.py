"""Erase what is about a person in usage, and is no part of any bill."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import (
    ColumnElement,
    SQLColumnExpression,
    Text,
    case,
    cast,
    delete,
    func,
    null,
    or_,
    select,
    update,
)

from billtrack.platform.extensions import db
from billtrack.usage.imports.models import RefusedLine
from billtrack.usage.records.models import UsageRecord
from billtrack.usage.sources.models import RejectedRecord

ERASED = "erased"
"""What stands in place of the reason of a reversal whose customer is erased."""


def erase_free_text(user_id: int, *, after_id: int, limit: int) -> int | None:
    """Erase what senders wrote freely into up to `limit` records of a user above `after_id`.

    Returns the last id that was looked at, or None when there is no more. Nothing that a bill is
    made of changes; a repeated key is still known, by its hash.
    """
    own = UsageRecord.user_id == user_id
    ids = select(UsageRecord.id).where(own, UsageRecord.id > after_id).order_by(UsageRecord.id)
    found = db.session.scalars(ids.limit(limit)).all()
    if not found:
        return None
    written = (UsageRecord.details, UsageRecord.idempotency_key, UsageRecord.origin)
    says = or_(*(column.is_not(None) for column in (*written, UsageRecord.reason)))
    db.session.execute(
        update(UsageRecord)
        .where(own, UsageRecord.id.between(found[0], found[-1]), says)
        .values(
            details=null(),
            idempotency_key=None,
            origin=None,
            reason=case((UsageRecord.reason.is_not(None), ERASED)),
        )
    )
    return found[-1]


def forget_rejected(user_id: int) -> None:
    """Remove the refused records that name the account by its number."""
    db.session.execute(delete(RejectedRecord).where(RejectedRecord.user_id == user_id))


def forget_refused(emails: Collection[str]) -> None:
    """Remove refused records, and refused lines of files, that name one of the addresses."""
    db.session.execute(delete(RejectedRecord).where(_names(RejectedRecord.item, emails)))
    cells = cast(RefusedLine.cells, Text)
    named = or_(_names(cells, emails), _names(RefusedLine.reason, emails))
    db.session.execute(delete(RefusedLine).where(named))


def _names(column: SQLColumnExpression[str], emails: Collection[str]) -> ColumnElement[bool]:
    lowered = func.lower(column)
    return or_(*(lowered.contains(address, autoescape=True) for address in sorted(emails)))
