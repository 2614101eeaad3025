"""The warning about silent sources, for every page that shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from billtrack.accounts import access
from billtrack.accounts.users.permissions import Permission
from billtrack.presentation.sources import silent_rows
from billtrack.usage.sources import queries


def silent_sources(now: datetime) -> list[dict[str, Any]]:
    """Return who has gone silent of those whose journal may be read, for the pages that warn."""
    who = access.principal()
    if not who.may(Permission.JOURNAL_READ):
        return []
    return silent_rows(
        queries.list_silent_sources(reach=who.reach(Permission.JOURNAL_READ), now=now)
    )
