"""Read what was refused. Reach `RECORDED` covers what the account itself sent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, select, true

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Reach
from billtrack.core.errors import FieldError, NotFoundError
from billtrack.platform.extensions import db
from billtrack.usage.sources.models import RejectedRecord
from billtrack.usage.sources.queries import covers

MOST_REASONS = 20


class RejectedNotFound(NotFoundError):
    """There is no such rejected record, or it is not theirs, or it is older than 30 days."""

    code = "rejected_record_not_found"

    def __init__(self, rejected_id: int) -> None:
        super().__init__(f"There is no rejected record {rejected_id} that you can see.")


@dataclass(frozen=True, slots=True)
class RejectedFilter:
    """Which to list; None means any.

    `is_open`: those that were not replayed. [starts_at, ends_at) is when they were received last.
    """

    account_id: int | None = None
    code: str | None = None
    detail: str | None = None
    is_open: bool | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class RejectedView:
    """A record that was refused; `item` is what was sent, all of it if `is_whole`."""

    id: int
    account_id: int
    source_name: str
    origin: str | None
    item: Any
    is_whole: bool
    code: str
    detail: str
    errors: Sequence[FieldError]
    first_received_at: datetime
    last_received_at: datetime
    times: int
    record_id: int | None
    replayed_at: datetime | None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why so many records of a source are refused and not yet replayed; `id` is one of them."""

    id: int
    account_id: int
    source_name: str
    code: str
    detail: str
    count: int


def list_rejected(
    *, reach: Reach, matching: RejectedFilter, before_id: int | None = None, limit: int = 50
) -> list[RejectedView]:
    """Return up to `limit` rejected records with an id below `before_id`, the newest first."""
    query = _rejected(reach).where(_matching(matching))
    if before_id is not None:
        query = query.where(RejectedRecord.id < before_id)
    return _viewed(query.order_by(RejectedRecord.id.desc()).limit(limit))


def get_rejected(rejected_id: int, *, reach: Reach) -> RejectedView:
    """Return one; raises RejectedNotFound when the reach does not cover it."""
    found = _viewed(_rejected(reach).where(RejectedRecord.id == rejected_id))
    if not found:
        raise RejectedNotFound(rejected_id)
    return found[0]


def list_reasons(*, reach: Reach, account_id: int | None = None) -> list[Reason]:
    """Return why records are refused and not yet replayed, the most frequent first."""
    row = RejectedRecord
    count = func.count().label("number")
    query = (
        select(func.min(row.id), row.account_id, User.name, row.code, row.detail, count)
        .join(User, User.id == row.account_id)
        .where(
            covers(reach, row.account_id),
            _matching(RejectedFilter(account_id=account_id, is_open=True)),
        )
        .group_by(row.account_id, User.name, row.code, row.detail)
        .order_by(count.desc(), func.min(row.id))
        .limit(MOST_REASONS)
    )
    return [Reason(*found) for found in db.session.execute(query)]


def known_codes(*, reach: Reach) -> Sequence[str]:
    """Return the codes that there are, by name."""
    query = select(RejectedRecord.code).where(covers(reach, RejectedRecord.account_id))
    return db.session.scalars(query.distinct().order_by(RejectedRecord.code)).all()


def _rejected(reach: Reach) -> Select[*tuple[Any, ...]]:
    return (
        select(RejectedRecord, User.name)
        .join(User, User.id == RejectedRecord.account_id)
        .where(covers(reach, RejectedRecord.account_id))
    )


def _viewed(query: Select[*tuple[Any, ...]]) -> list[RejectedView]:
    return [
        RejectedView(
            id=row.id,
            account_id=row.account_id,
            source_name=name,
            origin=row.origin,
            item=json.loads(row.item),
            is_whole=row.is_whole,
            code=row.code,
            detail=row.detail,
            errors=[FieldError(*one) for one in json.loads(row.errors)],
            first_received_at=row.first_received_at,
            last_received_at=row.last_received_at,
            times=row.times,
            record_id=row.record_id,
            replayed_at=row.replayed_at,
        )
        for row, name in db.session.execute(query)
    ]


def _matching(matching: RejectedFilter) -> ColumnElement[bool]:
    row = RejectedRecord
    conditions: list[ColumnElement[bool]] = [true()]
    if matching.account_id is not None:
        conditions.append(row.account_id == matching.account_id)
    if matching.code is not None:
        conditions.append(row.code == matching.code)
    if matching.detail is not None:
        conditions.append(row.detail == matching.detail)
    if matching.is_open is not None:
        is_open = row.record_id.is_(None)
        conditions.append(is_open if matching.is_open else ~is_open)
    if matching.starts_at is not None:
        conditions.append(row.last_received_at >= matching.starts_at)
    if matching.ends_at is not None:
        conditions.append(row.last_received_at < matching.ends_at)
    return and_(*conditions)
