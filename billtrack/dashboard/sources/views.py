"""Journal: which sources send usage, what became of it by day and hour, who has gone silent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from flask import render_template
from flask.typing import ResponseReturnValue

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Breadth, Permission
from billtrack.core.periods import DateRange
from billtrack.dashboard.shared.blueprint import dashboard
from billtrack.dashboard.shared.numbers import read_number
from billtrack.dashboard.shared.ranges import Asked, bars
from billtrack.dashboard.shared.silent_sources import silent_sources
from billtrack.platform.extensions import current_calendar, current_settings
from billtrack.presentation.drawings import Drawing
from billtrack.presentation.filters import count
from billtrack.presentation.sources import reason_rows
from billtrack.usage.sources import queries, rejected
from billtrack.usage.sources.queries import HourView

PAGE_SIZE = 50
CHARTED_DAYS = 30
LISTED_HOURS = 48


@dashboard.get("/journal")
@access.require(Permission.JOURNAL_READ)
def journal() -> ResponseReturnValue:
    """List the sources, who has gone silent among them, and why records are refused."""
    now, reach = datetime.now(UTC), access.reach(Permission.JOURNAL_READ)
    after_id = read_number("after") or 0
    sources = queries.list_sources(reach=reach, now=now, after_id=after_id, limit=PAGE_SIZE + 1)
    shown = sources[:PAGE_SIZE]
    return render_template(
        "dashboard/sources/sources.html",
        sources=shown,
        silent=silent_sources(now),
        reasons=reason_rows(rejected.list_reasons(reach=reach)),
        may_replay=access.principal().may(Permission.JOURNAL_REPLAY),
        after=after_id,
        next_after=shown[-1].account_id if len(sources) > PAGE_SIZE else None,
        sees_all=reach.breadth is Breadth.ALL,
        timezone=current_settings().timezone,
        now=now,
    )


@dashboard.get("/journal/sources/<id:source_id>")
@access.require(Permission.JOURNAL_READ)
def journal_source(source_id: int) -> ResponseReturnValue:
    """Show one source: thirty days as a chart, two days hour by hour."""
    now, reach = datetime.now(UTC), access.reach(Permission.JOURNAL_READ)
    source = queries.get_source(source_id, reach=reach, now=now)
    calendar = current_calendar()
    today, first = calendar.today(now), calendar.day_of(source.first_seen_at)
    days = DateRange(max(min(first, today), today - timedelta(days=CHARTED_DAYS - 1)), today)
    starts_at, ends_at = calendar.period_of(days)
    hours = queries.list_hours(source_id, starts_at=starts_at, ends_at=ends_at)
    recent = now - timedelta(hours=LISTED_HOURS)
    return render_template(
        "dashboard/sources/source.html",
        source=source,
        drawing=_drawing(hours, days),
        hours=[hour for hour in hours if hour.starts_at > recent],
        listed_hours=LISTED_HOURS,
        reasons=reason_rows(rejected.list_reasons(reach=reach, account_id=source_id)),
        may_replay=access.principal().may(Permission.JOURNAL_REPLAY),
        sees_all=reach.breadth is Breadth.ALL,
        timezone=current_settings().timezone,
        now=now,
    )


def _drawing(hours: Sequence[HourView], days: DateRange) -> Drawing | None:
    by_word: dict[str, Counter[date]] = {
        word: Counter() for word in ("accepted", "duplicate", "rejected")
    }
    for hour in hours:
        day = current_calendar().day_of(hour.starts_at)
        by_word["accepted"][day] += hour.counts.accepted
        by_word["duplicate"][day] += hour.counts.duplicate
        by_word["rejected"][day] += hour.counts.conflict + hour.counts.rejected
    lines = [
        (word.capitalize(), colour, by_word[word])
        for word, colour in (("accepted", 1), ("duplicate", 2), ("rejected", 4))
    ]
    return bars(Asked(days), lines, title="Records by day", tell=count)
