"""API keys that have been used lately, by digest, whichever process let them in.

While an address is shut out for what others send from it, these keys are looked up as always.
Lets nobody in by itself.
"""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from itertools import count

import structlog
from flask import Flask, current_app
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from billtrack.accounts.credentials import key_cache
from billtrack.accounts.credentials.key_format import digest
from billtrack.accounts.users.models import ApiKey
from billtrack.platform import limits
from billtrack.platform.extensions import db

log = structlog.get_logger(__name__)

EXTENSION = "billtrack.keys_in_use"
REFRESH_SECONDS = 10
LATELY = timedelta(days=30)
MOST = 10_000


def has(secret: str) -> bool:
    """Tell whether the API key was in use when this process looked last; asks no database."""
    hashed = digest(secret)
    in_use = current_app.extensions.get(EXTENSION, ())
    return hashed in in_use or key_cache.find(hashed) is not None


def refresh(*, now: datetime) -> None:
    """Read which keys are in use: those that were used last, at most MOST."""
    lately = (
        select(ApiKey.key_hash)
        .where(ApiKey.revoked_at.is_(None), ApiKey.used_at > now - LATELY)
        .order_by(ApiKey.used_at.desc())
        .limit(MOST)
    )
    current_app.extensions[EXTENSION] = frozenset(db.session.scalars(lately))


def keep_refreshing(app: Flask) -> None:
    """Refresh at once, then every ten seconds, or every second while an address is shut out."""
    thread = threading.Thread(target=_keep, args=(app,), name="keys in use", daemon=True)
    thread.start()


def _keep(app: Flask) -> None:
    for second in count():
        try:
            with app.app_context():
                if second % REFRESH_SECONDS == 0 or limits.is_anybody_shut_out():
                    refresh(now=datetime.now(UTC))
        except SQLAlchemyError as error:
            log.warning("database_unavailable", error=str(error))
        time.sleep(1)
