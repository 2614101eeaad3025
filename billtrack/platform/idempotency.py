"""Idempotency of creating requests: the same key within 24 hours gets the same answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Index, Integer, LargeBinary, Text, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from billtrack.core.errors import ConflictError
from billtrack.platform.db import Base, JsonObject, UTCDateTime
from billtrack.platform.extensions import current_settings, db
from billtrack.platform.upsert import insert_ignore

KEPT = timedelta(hours=24)


class CommandKey(Base):
    """The answer to a creating request, kept 24 hours for whoever repeats it."""

    __tablename__ = "command_keys"
    __table_args__ = (Index(None, "expires_at"),)

    key_hash: Mapped[bytes] = mapped_column(LargeBinary(16), primary_key=True)
    fingerprint: Mapped[bytes] = mapped_column(LargeBinary(16))
    status: Mapped[int | None] = mapped_column(Integer)
    body: Mapped[dict[str, Any] | None] = mapped_column(JsonObject)
    location: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime] = mapped_column(UTCDateTime)


class IdempotencyConflict(ConflictError):
    """The key was used before, for something else."""

    code = "idempotency_conflict"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a creating request is answered with: HTTP status, JSON body, Location."""

    status: int
    body: dict[str, Any]
    location: str | None = None


@dataclass(frozen=True, slots=True)
class Command:
    """A creating request of one account: what was asked, under which key."""

    account_id: int
    name: str
    key: str | None
    request: Any


def run_once(
    command: Command,
    *,
    now: datetime,
    action: Callable[[], Answer],
    remembered: Callable[[Answer], Answer] = lambda answer: answer,
) -> Answer:
    """Run the action, or repeat the stored answer when the key was seen within 24 hours.

    Belongs inside the transaction of the action, so that a refused or lost request uses up no
    key. `remembered` may take secrets out of what is stored. Raises IdempotencyConflict when
    the key came with a different request.
    """
    if command.key is None:
        return action()
    key_hash = _digest([command.account_id, command.name, command.key])
    fingerprint = _digest(command.request, secret=_secret())
    if not _claim(key_hash, fingerprint, now):
        return _stored(key_hash, fingerprint)
    answer = action()
    kept = remembered(answer)
    db.session.execute(
        update(CommandKey)
        .where(CommandKey.key_hash == key_hash)
        .values(status=kept.status, body=kept.body, location=kept.location)
    )
    return answer


def is_repeated(command: Command, *, now: datetime) -> bool:
    """Tell whether the key was used within 24 hours, so that `run_once` will not run the action.

    Serves to spare work that has to be done before the transaction.
    """
    if command.key is None:
        return False
    key_hash = _digest([command.account_id, command.name, command.key])
    used = select(CommandKey.key_hash).where(
        CommandKey.key_hash == key_hash, CommandKey.expires_at > now
    )
    return db.session.scalar(used) is not None


def _claim(key_hash: bytes, fingerprint: bytes, now: datetime) -> bool:
    db.session.execute(delete(CommandKey).where(CommandKey.expires_at <= now))
    # A second request with the same key waits here until the first is stored.
    row = {"key_hash": key_hash, "fingerprint": fingerprint, "expires_at": now + KEPT}
    return insert_ignore(CommandKey, [row], returning=CommandKey.key_hash) != []


def _stored(key_hash: bytes, fingerprint: bytes) -> Answer:
    query = select(CommandKey).where(CommandKey.key_hash == key_hash)
    found = db.session.scalars(query).one()
    if found.fingerprint != fingerprint or found.status is None or found.body is None:
        raise IdempotencyConflict(
            "This Idempotency-Key was used for a different request. Use a new key."
        )
    return Answer(found.status, found.body, found.location)


def _secret() -> bytes:
    # A request may hold a password: the table alone must give nothing to try guesses against.
    secret = current_settings().secret_key
    if secret is None:
        raise RuntimeError("load_settings() provides the secret key")
    return hashlib.sha256(secret.get_secret_value().encode()).digest()


def _digest(value: Any, *, secret: bytes = b"") -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16, key=secret).digest()
