"""Give an API key a successor; for a while both work, so that no program has to stop.

The successor is a row of its own: looking a key up stays one comparison, and each of the two
can be seen, dated and revoked by itself. Idempotency keys belong to the account, which is the
same, so a request that was sent with the old key and is repeated with the new one counts once.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import update

from billtrack.accounts.credentials.api_keys import create_api_key, lock_api_key
from billtrack.accounts.users.models import ApiKey, User
from billtrack.accounts.users.permissions import Reach, Role, grantable_scopes
from billtrack.core.errors import ConflictError, ForbiddenError
from billtrack.platform import audit
from billtrack.platform.db import row_count
from billtrack.platform.extensions import db

DEFAULT_GRACE = timedelta(days=1)
MAX_GRACE = timedelta(days=7)


class ApiKeyEnded(ConflictError):
    """The key does not work any more, so there is nothing to take over."""

    code = "api_key_ended"


class ApiKeyRotated(ConflictError):
    """The key has a successor already."""

    code = "api_key_rotated"


def rotate_api_key(
    key_id: int,
    *,
    actor: audit.Actor,
    reach: Reach,
    now: datetime,
    grace: timedelta,
) -> tuple[ApiKey, str]:
    """Return the successor and its secret text; the old key works for `grace` more.

    The successor has its name, as much of its scopes as the role still grants, and as long a
    life from now as it had. Raises ApiKeyNotFound, ApiKeyEnded, ApiKeyRotated, and ForbiddenError
    for a key that may do more than the one that asks, or is of an account that may.
    """
    key, owner = lock_api_key(key_id, reach=reach)
    scopes = sorted(set(key.scopes) & grantable_scopes(Role(owner.role)))
    if reach.scopes is not None and not set(scopes) <= reach.scopes:
        raise ForbiddenError("This API key cannot rotate one that may do more than itself.")
    if not is_working(key, owner, now=now) or not scopes:
        raise ApiKeyEnded("This key does not work any more. Create a new one.")
    expires_at = now + (key.expires_at - key.created_at) if key.expires_at else None
    _retire(key, works_until=now + grace, now=now)
    successor, secret = create_api_key(
        owner, actor=actor, now=now, name=key.name, scopes=scopes, expires_at=expires_at
    )
    successor.replaces_id = key.id
    audit.record(
        "api_key.rotated",
        actor=actor,
        now=now,
        object_type="api_key",
        object_id=key.id,
        changes={"replaced_by": successor.id, "grace_seconds": int(grace.total_seconds())},
    )
    return successor, secret


def is_working(key: ApiKey, owner: User, *, now: datetime) -> bool:
    """Tell whether the key, whose account this is, would let somebody in."""
    has_expired = key.expires_at is not None and key.expires_at <= now
    return key.revoked_at is None and not has_expired and owner.is_active


def _retire(key: ApiKey, *, works_until: datetime, now: datetime) -> None:
    """Note that the key is replaced; of two that rotate it at once only one gets through."""
    ends_at = min(key.expires_at, works_until) if key.expires_at else works_until
    retired = db.session.execute(
        update(ApiKey)
        .where(ApiKey.id == key.id, ApiKey.rotated_at.is_(None), ApiKey.revoked_at.is_(None))
        .values(rotated_at=now, expires_at=ends_at)
    )
    if not row_count(retired):
        raise ApiKeyRotated("This key has a successor already. Rotate that one.")
