"""Records as they were sent, each with the terms under which it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from billtrack.core.errors import InvalidError
from billtrack.core.periods import BillingCalendar
from billtrack.platform.extensions import calendar_of, current_settings

MetadataValue = str | int | float | bool


# Not frozen: of these ten thousand are made for a batch, and frozen ones take twice as long.
@dataclass(slots=True)
class UsageInput:
    """A record as it was sent: base units, an aware instant or None for now.

    `origin` is the CloudEvents source, None for a record that is no event.
    """

    user_id: int
    event: str
    quantity: int
    occurred_at: datetime | None = None
    idempotency_key: str | None = None
    metadata: Mapping[str, MetadataValue] | None = None
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class Misshapen:
    """An item that has not the shape of a record: as it was sent, and what is wrong with it."""

    item: Any
    error: InvalidError
    origin: str | None = None


Sent = UsageInput | Misshapen


@dataclass(frozen=True, slots=True)
class Terms:
    """Who records, at which instant, under which rules.

    `received_at` is when a record was sent that was refused then and is sent once more by
    somebody else, now that it can be stored. `keeps_refused`: what is refused is kept for the
    sender to look at, as it is sent by a program.
    """

    recorded_by_id: int
    now: datetime
    calendar: BillingCalendar
    backfill_days: int
    received_at: datetime | None = None
    keeps_refused: bool = False


# Not frozen: of these ten thousand are made for a batch, and frozen ones take twice as long.
@dataclass(slots=True)
class Submission:
    """A record as it was sent, and the terms under which it was.

    `occurred_at` is when it was used: when it was first received, if nothing else was sent.
    `day` is the billing day it belongs to.
    """

    item: UsageInput
    terms: Terms
    occurred_at: datetime = field(init=False)
    day: date = field(init=False)

    def __post_init__(self) -> None:
        terms = self.terms
        self.occurred_at = self.item.occurred_at or terms.received_at or terms.now
        self.day = terms.calendar.day_of(self.occurred_at)


def terms_of(
    account_id: int,
    now: datetime,
    *,
    received_at: datetime | None = None,
    keeps_refused: bool = False,
) -> Terms:
    """Return the terms under which the account records now, as this installation is set."""
    settings = current_settings()
    return Terms(
        recorded_by_id=account_id,
        now=now,
        calendar=calendar_of(settings),
        backfill_days=settings.backfill_days,
        received_at=received_at,
        keeps_refused=keeps_refused,
    )
