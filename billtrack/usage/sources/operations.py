"""Look after the journal: who has gone silent, and what is old."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, or_, select, update

from billtrack.accounts.users.models import User
from billtrack.platform.db import end_read, transaction
from billtrack.platform.extensions import db
from billtrack.usage.sources.models import RejectedRecord, UsageSource, UsageSourceHour
from billtrack.usage.sources.silence import (
    FEWEST_MISSED,
    FORGOTTEN_AFTER,
    HOUR,
    WEEK,
    WEEKS,
    silent_since,
)

KEPT_HOURS = timedelta(days=90)
KEPT_REJECTED = timedelta(days=30)

_SENT = (
    UsageSourceHour.accepted
    + UsageSourceHour.duplicate
    + UsageSourceHour.conflict
    + UsageSourceHour.rejected
)


def mark_silent_sources(*, now: datetime) -> int:
    """Note which sources are missed now and which no longer; return for how many that changed.

    Owns its transaction, and takes none when nothing changes. A source that is seen in the
    meantime is not marked. Safe in several workers at once.
    """
    changed = [
        (source.account_id, source.last_seen_at, since)
        for source, is_active in _candidates(now)
        if (since := _missed_since(source, now) if is_active else None) != source.silent_since_at
    ]
    end_read()
    if changed:
        with transaction():
            for account_id, last_seen_at, since in changed:
                as_read = (
                    UsageSource.account_id == account_id,
                    UsageSource.last_seen_at == last_seen_at,
                )
                db.session.execute(
                    update(UsageSource).where(*as_read).values(silent_since_at=since)
                )
    return len(changed)


def forget_old_hours(now: datetime) -> None:
    """Remove the counts of hours that are more than 90 days ago; the caller owns the transaction.

    When a source was seen first and last stays.
    """
    db.session.execute(delete(UsageSourceHour).where(UsageSourceHour.starts_at < now - KEPT_HOURS))


def forget_old_rejected(now: datetime) -> None:
    """Remove records that were refused more than 30 days ago; the caller owns the transaction."""
    is_old = RejectedRecord.last_received_at < now - KEPT_REJECTED
    db.session.execute(delete(RejectedRecord).where(is_old))


def _candidates(now: datetime) -> Sequence[tuple[UsageSource, bool]]:
    """Return the sources that may be missed by now or are marked, and whether they are active."""
    may_be_missed = UsageSource.last_seen_at.between(
        now - FORGOTTEN_AFTER, now - FEWEST_MISSED * HOUR
    )
    query = (
        select(UsageSource, User.deactivated_at.is_(None))
        .join(User, User.id == UsageSource.account_id)
        .where(or_(may_be_missed, UsageSource.silent_since_at.is_not(None)))
        .order_by(UsageSource.account_id)
    )
    return [(source, is_active) for source, is_active in db.session.execute(query)]


def _missed_since(source: UsageSource, now: datetime) -> datetime | None:
    hours = db.session.scalars(
        select(UsageSourceHour.starts_at).where(
            UsageSourceHour.account_id == source.account_id,
            UsageSourceHour.starts_at > source.last_seen_at - WEEKS * WEEK - HOUR,
            _SENT > 0,
        )
    )
    return silent_since(
        set(hours),
        first_seen_at=source.first_seen_at,
        last_seen_at=source.last_seen_at,
        now=now,
    )
