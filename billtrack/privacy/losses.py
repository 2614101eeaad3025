"""Count what erasing a person would take away, for whoever is about to do it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from sqlalchemy import func, select

from billtrack.accounts.users.models import ApiKey, UserSession
from billtrack.documents.reports.erasure import count_files
from billtrack.notifications.mail.models import Letter
from billtrack.platform.extensions import db
from billtrack.usage.records.models import UsageDaily


@dataclass(frozen=True, slots=True)
class Losses:
    """What goes (sessions, keys that are not revoked, letters, files), and what stays.

    `records` stay without their free text, the last of them of the billing day `last_on`.
    """

    sessions: int
    api_keys: int
    letters: int
    files: int
    records: int
    last_on: date | None


def count_losses(user_id: int) -> Losses:
    """Return what erasing the account would take away now."""
    sessions = select(func.count()).select_from(UserSession).where(UserSession.user_id == user_id)
    live = (ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
    letters = select(func.count()).select_from(Letter).where(Letter.user_id == user_id)
    used = select(func.coalesce(func.sum(UsageDaily.count), 0), func.max(UsageDaily.day))
    records, last_on = db.session.execute(used.where(UsageDaily.user_id == user_id)).one()
    return Losses(
        sessions=db.session.scalar(sessions) or 0,
        api_keys=db.session.scalar(select(func.count()).select_from(ApiKey).where(*live)) or 0,
        letters=db.session.scalar(letters) or 0,
        files=count_files(user_id),
        records=int(records),
        last_on=last_on,
    )
