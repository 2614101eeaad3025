"""Who records by a request, at which instant, under which rules."""

from __future__ import annotations

from datetime import UTC, datetime

from billtrack.accounts import access
from billtrack.usage.records.submissions import Terms, terms_of


def terms() -> Terms:
    """Return who records now, under which rules; what is refused is kept."""
    return terms_of(access.principal().user_id, datetime.now(UTC), keeps_refused=True)
