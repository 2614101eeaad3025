"""Write what the database says about itself. The caller owns the transaction."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta

from sqlalchemy import delete

from billtrack.core.errors import ForbiddenError
from billtrack.platform.extensions import db
from billtrack.platform.installation.models import Installation, WorkerHeartbeat
from billtrack.platform.installation.queries import find_installation

FORGOTTEN_AFTER = timedelta(days=1)


class SetupTokenRefused(ForbiddenError):
    """The set-up link is not the newest one, or was used already."""

    code = "setup_token_refused"


def create_installation(*, timezone: str, now: datetime) -> None:
    """Write down the billing time zone for ever, unless it is written already."""
    if find_installation() is None:
        db.session.add(Installation(id=1, timezone=timezone, created_at=now))
        db.session.flush()


def issue_setup_token() -> str:
    """Return a new secret for the one-time set-up page; the one before is void."""
    token = secrets.token_urlsafe(32)
    _installation().setup_token_hash = _hash(token)
    return token


def require_setup_token(token: str) -> None:
    """Raise SetupTokenRefused unless this is the secret that was issued last."""
    expected = _installation().setup_token_hash
    if expected is None or not hmac.compare_digest(expected, _hash(token)):
        raise SetupTokenRefused(
            "This set-up link is used or outdated. Restart billtrack for a new one, "
            "or run: billtrack create-admin"
        )


def void_setup_token() -> None:
    """Make the set-up page answer no more."""
    _installation().setup_token_hash = None


def mark_demo_loaded(*, now: datetime) -> None:
    """Note that the demo data is in, so that the next start leaves it alone."""
    _installation().demo_loaded_at = now


def beat(worker_id: str, *, now: datetime) -> None:
    """Note that the worker process is alive, and forget those gone for a day."""
    row = db.session.get(WorkerHeartbeat, worker_id)
    if row is None:
        db.session.add(WorkerHeartbeat(worker_id=worker_id, started_at=now, seen_at=now))
        db.session.execute(
            delete(WorkerHeartbeat).where(WorkerHeartbeat.seen_at < now - FORGOTTEN_AFTER)
        )
    else:
        row.seen_at = now


def _installation() -> Installation:
    found = find_installation()
    if found is None:
        raise RuntimeError("run `billtrack init` first: the database is not set up")
    return found


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
