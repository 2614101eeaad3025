"""Read what sources sent, and when. Reach `RECORDED` covers the account's own source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, false, func, select, true
from sqlalchemy.orm import InstrumentedAttribute

from billtrack.accounts.users.models import User
from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.core.errors import NotFoundError
from billtrack.platform.extensions import db
from billtrack.usage.sources.models import UsageSource, UsageSourceHour
from billtrack.usage.sources.tally import hour_of

DAY = timedelta(hours=24)


class SourceNotFound(NotFoundError):
    """There is no such source, or it is not theirs."""

    code = "source_not_found"

    def __init__(self, account_id: int) -> None:
        super().__init__(f"There is no source {account_id} that you can see.")


class Counts(NamedTuple):
    """How many records became what; `late` are among the accepted."""

    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    conflict: int = 0
    rejected: int = 0
    reversed: int = 0


@dataclass(frozen=True, slots=True)
class SourceView:
    """An account that sends usage; `last_day` is what it sent in this and the last 23 hours."""

    account_id: int
    name: str
    email: str
    is_active: bool
    first_seen_at: datetime
    last_seen_at: datetime
    silent_since_at: datetime | None
    last_day: Counts


@dataclass(frozen=True, slots=True)
class HourView:
    """What a source sent in the hour that begins at `starts_at`."""

    starts_at: datetime
    counts: Counts


_COUNTS = [getattr(UsageSourceHour, name) for name in Counts._fields]


def list_sources(
    *, reach: Reach, now: datetime, after_id: int = 0, limit: int = 50
) -> list[SourceView]:
    """Return up to `limit` sources whose account has an id above `after_id`, by id."""
    query = _sources(reach).where(UsageSource.account_id > after_id)
    return _viewed(query.order_by(UsageSource.account_id).limit(limit), now)


def list_silent_sources(*, reach: Reach, now: datetime, limit: int = 50) -> list[SourceView]:
    """Return up to `limit` sources that are missed, the one missed longest first."""
    query = _sources(reach).where(UsageSource.silent_since_at.is_not(None))
    order = (UsageSource.silent_since_at, UsageSource.account_id)
    return _viewed(query.order_by(*order).limit(limit), now)


def get_source(account_id: int, *, reach: Reach, now: datetime) -> SourceView:
    """Return one source; raises SourceNotFound when the reach does not cover it."""
    found = _viewed(_sources(reach).where(UsageSource.account_id == account_id), now)
    if not found:
        raise SourceNotFound(account_id)
    return found[0]


def list_hours(account_id: int, *, starts_at: datetime, ends_at: datetime) -> list[HourView]:
    """Return the hours that begin in [starts_at, ends_at) and in which it sent, newest first."""
    hours = UsageSourceHour
    query = (
        select(hours.starts_at, *_COUNTS)
        .where(
            hours.account_id == account_id, hours.starts_at >= starts_at, hours.starts_at < ends_at
        )
        .order_by(hours.starts_at.desc())
    )
    return [HourView(starts_at, Counts(*numbers)) for starts_at, *numbers in _rows(query)]


def covers(reach: Reach, account: InstrumentedAttribute[int]) -> ColumnElement[bool]:
    """Return the condition that an account is one whose journal may be read."""
    if reach.breadth is Breadth.ALL:
        return true()
    return account == reach.user_id if reach.breadth is Breadth.RECORDED else false()


def _sources(reach: Reach) -> Select[*tuple[Any, ...]]:
    return (
        select(UsageSource, User.name, User.email, User.deactivated_at)
        .join(User, User.id == UsageSource.account_id)
        .where(covers(reach, UsageSource.account_id))
    )


def _viewed(query: Select[*tuple[Any, ...]], now: datetime) -> list[SourceView]:
    rows = _rows(query)
    sent = _last_day([row[0].account_id for row in rows], now)
    return [
        SourceView(
            account_id=source.account_id,
            name=name,
            email=email,
            is_active=deactivated_at is None,
            first_seen_at=source.first_seen_at,
            last_seen_at=source.last_seen_at,
            silent_since_at=source.silent_since_at,
            last_day=sent.get(source.account_id, Counts()),
        )
        for source, name, email, deactivated_at in rows
    ]


def _last_day(account_ids: Sequence[int], now: datetime) -> dict[int, Counts]:
    account = UsageSourceHour.account_id
    query = (
        select(account, *(func.sum(column) for column in _COUNTS))
        .where(account.in_(account_ids), UsageSourceHour.starts_at > hour_of(now) - DAY)
        .group_by(account)
    )
    return {account_id: Counts(*map(int, sums)) for account_id, *sums in _rows(query)}


def _rows(query: Select[*tuple[Any, ...]]) -> Sequence[Any]:
    return db.session.execute(query).all()
