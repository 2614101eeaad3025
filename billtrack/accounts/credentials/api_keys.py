"""API keys: made once, shown once, stored as SHA-256, scoped, revocable."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, update

from billtrack.accounts.credentials import key_cache
from billtrack.accounts.credentials.key_cache import LiveKey
from billtrack.accounts.credentials.key_format import API_KEY, digest, is_api_key, new_secret
from billtrack.accounts.users.authority import lock_user, require_key_change
from billtrack.accounts.users.models import ApiKey, User
from billtrack.accounts.users.permissions import Reach, Role, grantable_scopes
from billtrack.core.errors import InvalidError, NotFoundError
from billtrack.platform import audit
from billtrack.platform.driver import ask_driver, ask_sqlite, is_postgresql
from billtrack.platform.extensions import db

SHOWN_CHARACTERS = 14
SEEN_INTERVAL = timedelta(minutes=1)


_FOR_SQLITE = """
SELECT key_hash, keys.id, scopes, expires_at, used_at, owner.id, role, owner.name, email
FROM json_each(?) AS wanted
CROSS JOIN api_keys AS keys ON keys.key_hash = wanted.value
CROSS JOIN users AS owner ON owner.id = keys.user_id
WHERE revoked_at IS NULL AND deactivated_at IS NULL
"""
# As a plain join it was planned, while tables were young, to read all users; LIMIT keeps each
# look-up one by its index, whatever the plan was made for.
_FOR_POSTGRESQL = """
SELECT key_hash, keys.id, scopes, expires_at, used_at, owner.id, role, name, email
FROM unnest(CAST(%(hashes)s AS text[])) AS wanted (key_hash)
CROSS JOIN LATERAL (
    SELECT id, scopes, expires_at, used_at, user_id FROM api_keys
    WHERE api_keys.key_hash = wanted.key_hash AND revoked_at IS NULL LIMIT 1
) AS keys
CROSS JOIN LATERAL (
    SELECT id, role, name, email FROM users
    WHERE users.id = keys.user_id AND deactivated_at IS NULL LIMIT 1
) AS owner
"""


class ApiKeyNotFound(NotFoundError):
    """There is no such key, or it is not theirs."""

    code = "api_key_not_found"


def create_api_key(
    user: User,
    *,
    actor: audit.Actor,
    now: datetime,
    name: str,
    scopes: Sequence[str] | None = None,
    within: Collection[str] | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Return the stored key and its secret text, which is never shown again.

    Without scopes it gets all that the role may grant. A key that makes another passes its own
    scopes as `within`, beyond which it cannot go. Raises InvalidError for a scope that cannot
    be granted, a deactivated account or an expiry that is not in the future.
    """
    if not user.is_active:
        raise InvalidError.at("user_id", "The account is deactivated.")
    if expires_at is not None and expires_at <= now:
        raise InvalidError.at("expires_at", "Choose an instant in the future.")
    secret = new_secret(API_KEY)
    key = ApiKey(
        user_id=user.id,
        name=name,
        prefix=secret[:SHOWN_CHARACTERS],
        key_hash=digest(secret),
        scopes=_checked_scopes(Role(user.role), scopes, within),
        created_at=now,
        expires_at=expires_at,
    )
    db.session.add(key)
    db.session.flush()
    audit.record(
        "api_key.created",
        actor=actor,
        now=now,
        object_type="api_key",
        object_id=key.id,
        changes={"user_id": user.id, "scopes": " ".join(key.scopes)},
        personal={"name": name},
        subject_id=user.id,
    )
    return key, secret


def find_live_key(secret: str, *, now: datetime) -> LiveKey | None:
    """Return the key with its active account, or None when it is unknown, expired or revoked.

    It is looked up in the database every time: what was revoked before the request came lets
    nobody in.
    """
    if not is_api_key(secret):
        return None
    (found,) = find_together([secret])
    return found if found is not None and is_valid(found, now=now) else None


def find_together(secrets_: Sequence[str], *, engine: Engine | None = None) -> list[LiveKey | None]:
    """Return each key that is not revoked, in one query; whether it has expired is not asked.

    On SQLite an event loop asks by an engine of its own.
    """
    hashes = [digest(secret) for secret in secrets_]
    wanted = sorted(set(hashes))
    if is_postgresql():
        keys = [LiveKey(*row) for row in ask_driver(_FOR_POSTGRESQL, {"hashes": wanted})]
    else:
        keys = [_from_sqlite(*row) for row in ask_sqlite(_FOR_SQLITE, [json.dumps(wanted)], engine)]
    found = {key.key_hash: key for key in keys}
    key_cache.note(hashes, found)
    return [found.get(one) for one in hashes]


def _from_sqlite(
    key_hash: str, id_: int, scopes: str, expires: str | None, used: str | None, *owner: Any
) -> LiveKey:
    expires_at, used_at = (
        datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
        for text in (expires, used)
    )
    return LiveKey(key_hash, id_, json.loads(scopes), expires_at, used_at, *owner)


def find_seen(secret: str) -> LiveKey | None:
    """Return the key as this process saw it last; `seen_keys.HOLDS` tells whether it still is."""
    return key_cache.find(digest(secret))


def is_valid(key: LiveKey, *, now: datetime) -> bool:
    """Tell whether the key has not expired."""
    return key.expires_at is None or key.expires_at > now


def get_api_key(key_id: int, *, reach: Reach) -> ApiKey:
    """Return the key; raises ApiKeyNotFound when the reach does not cover it."""
    key = db.session.get(ApiKey, key_id)
    if key is None or not reach.covers(key.user_id):
        raise ApiKeyNotFound(f"There is no API key {key_id} that you can see.")
    return key


def is_unseen(key: LiveKey, *, now: datetime) -> bool:
    """Tell whether it is time to note that the key is in use."""
    return key.used_at is None or now - key.used_at > SEEN_INTERVAL


def mark_used(key_id: int, *, now: datetime) -> None:
    """Note that the key is in use."""
    db.session.execute(update(ApiKey).where(ApiKey.id == key_id).values(used_at=now))


def lock_api_key(key_id: int, *, reach: Reach) -> tuple[ApiKey, User]:
    """Return the key and its account, which is locked until the transaction ends.

    Raises ApiKeyNotFound, and ForbiddenError when an API key may not manage keys of the account.
    """
    key = get_api_key(key_id, reach=reach)
    owner = lock_user(key.user_id, reach=reach, rule=require_key_change)
    db.session.refresh(key)
    return key, owner


def revoke_api_key(key_id: int, *, actor: audit.Actor, reach: Reach, now: datetime) -> ApiKey:
    """Make the key useless at once; again changes nothing.

    Raises ApiKeyNotFound and ForbiddenError.
    """
    key, _ = lock_api_key(key_id, reach=reach)
    if key.revoked_at is None:
        key.revoked_at = now
        audit.record(
            "api_key.revoked",
            actor=actor,
            now=now,
            object_type="api_key",
            object_id=key.id,
            changes={"user_id": key.user_id, "active": audit.Change(before=True, after=False)},
        )
    return key


def _checked_scopes(
    role: Role, scopes: Sequence[str] | None, within: Collection[str] | None
) -> list[str]:
    allowed = {str(scope) for scope in grantable_scopes(role)}
    if within is not None:
        allowed &= set(within)
    chosen = allowed if scopes is None else set(scopes)
    if refused := sorted(chosen - allowed):
        raise InvalidError.at("scopes", f"You cannot grant a {role} {', '.join(refused)}.")
    if not chosen:
        raise InvalidError.at("scopes", "Name at least one scope.")
    return sorted(chosen)
