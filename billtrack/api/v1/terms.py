"""Who records by a request, at which instant, under which rules."""

from __future__ import annotations

from datetime import UTC, datetime

from billtrack import access
from billtrack.extensions import current_calendar, current_settings
from billtrack.usage.rules import Terms


def terms() -> Terms:
    """Return who records now, under which rules."""
    return Terms(
        recorded_by_id=access.principal().user_id,
        now=datetime.now(UTC),
        calendar=current_calendar(),
        backfill_days=current_settings().backfill_days,
    )
