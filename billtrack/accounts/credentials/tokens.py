"""Programs that sign in with a password: a family of tokens for each, which ends as a whole.

A refresh token works once and brings the next one. When one comes a second time, two have it,
and nobody can tell who is the thief: the family ends, for both. There is no time of grace for
an answer that was lost on its way: in it a thief could use what was used, unseen. Who loses an
answer signs in again; a program that cannot has an API key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, select, update

from billtrack.accounts.credentials import access_tokens
from billtrack.accounts.credentials.key_format import new_secret
from billtrack.accounts.users.models import RefreshToken, TokenFamily, User
from billtrack.core.errors import NotFoundError, UnauthenticatedError
from billtrack.platform import audit
from billtrack.platform.db import row_count
from billtrack.platform.extensions import db

PREFIX = "bt_refresh_"
LIFETIME = timedelta(days=30)
"""From signing in; no refresh makes it longer."""


class TokenRefused(UnauthenticatedError):
    """The refresh token is unknown, used, expired or revoked; nobody is told which."""

    code = "token_refused"


class TokenFamilyNotFound(NotFoundError):
    """There is no such program that is signed in to this account."""

    code = "token_family_not_found"


@dataclass(frozen=True, slots=True)
class TokenPair:
    """What a program gets: an access token, and once what brings the next pair."""

    access_token: str
    refresh_token: str
    expires_at: datetime


def start_family(
    user: User,
    *,
    now: datetime,
    address: str | None,
    user_agent: str | None,
    second_factor: str | None = None,
) -> TokenPair:
    """Start a family for the account, which has proven who it is, and return its first tokens.

    `second_factor` says by what besides the password.
    """
    _forget_expired(user.id, now)
    family = TokenFamily(
        user_id=user.id,
        created_at=now,
        renewed_at=now,
        expires_at=now + LIFETIME,
        address=address,
        user_agent=(user_agent or "")[:200] or None,
    )
    db.session.add(family)
    db.session.flush()
    actor = audit.Actor(user_id=user.id, address=address)
    proofs = {"second_factor": second_factor} if second_factor else {}
    _note("token.issued", family, actor, now, **proofs)
    return _next_pair(family, now)


def renew(secret: str, *, actor: audit.Actor, now: datetime) -> TokenPair | None:
    """Use the refresh token up and return the next tokens, or None when it is refused.

    Not raised, because a refusal may have ended the family, and that has to be stored. Of two
    requests at once with the same token the second waits for the first, and is a reuse.
    """
    used = db.session.scalar(
        update(RefreshToken)
        .where(RefreshToken.token_hash == _hash(secret), RefreshToken.used_at.is_(None))
        .values(used_at=now)
        .returning(RefreshToken.family_id)
    )
    if used is None:
        _end_if_reused(secret, actor, now)
        return None
    # Whoever ends the family at this moment waits, or is waited for and then seen.
    family = db.session.scalar(
        update(TokenFamily)
        .where(TokenFamily.id == used, _is_live(now))
        .values(renewed_at=now)
        .returning(TokenFamily)
    )
    if family is None:
        return None
    _note("token.renewed", family, actor, now)
    return _next_pair(family, now)


def revoke(secret: str, *, actor: audit.Actor, now: datetime) -> None:
    """End the family of this refresh token, used or not; an unknown one changes nothing."""
    for family in _families_of(secret):
        _end(family, "token.revoked", actor, now)


def list_families(user_id: int, *, now: datetime) -> Sequence[TokenFamily]:
    """Return the programs that are signed in to the account, the one renewed last first."""
    query = select(TokenFamily).where(TokenFamily.user_id == user_id, _is_live(now))
    return db.session.scalars(query.order_by(TokenFamily.renewed_at.desc(), TokenFamily.id)).all()


def revoke_own_family(family_id: int, *, user_id: int, actor: audit.Actor, now: datetime) -> None:
    """Sign one program of this account out; again changes nothing. Raises TokenFamilyNotFound."""
    family = db.session.get(TokenFamily, family_id)
    if family is None or family.user_id != user_id:
        raise TokenFamilyNotFound(f"There is no program {family_id} of yours.")
    _end(family, "token.revoked", actor, now)


def revoke_families(user_id: int, *, actor: audit.Actor, now: datetime) -> int:
    """Sign every program of the account out; return how many that were."""
    query = select(TokenFamily).where(
        TokenFamily.user_id == user_id, TokenFamily.revoked_at.is_(None)
    )
    families = db.session.scalars(query.order_by(TokenFamily.id)).all()
    return sum(_end(family, "token.revoked", actor, now) for family in families)


def _next_pair(family: TokenFamily, now: datetime) -> TokenPair:
    secret = new_secret(PREFIX)
    db.session.add(RefreshToken(family_id=family.id, token_hash=_hash(secret), created_at=now))
    return TokenPair(access_tokens.sign(family, now=now), secret, family.expires_at)


def _end_if_reused(secret: str, actor: audit.Actor, now: datetime) -> None:
    for family in _families_of(secret):
        _end(family, "token.reused", actor, now)


def _end(family: TokenFamily, why: str, actor: audit.Actor, now: datetime) -> bool:
    """End the family; return whether it was this that ended it."""
    ended = db.session.execute(
        update(TokenFamily)
        .where(TokenFamily.id == family.id, TokenFamily.revoked_at.is_(None))
        .values(revoked_at=now)
    )
    if not row_count(ended):
        return False
    _note(why, family, actor, now)
    return True


def _families_of(secret: str) -> Sequence[TokenFamily]:
    query = select(TokenFamily).join(RefreshToken, RefreshToken.family_id == TokenFamily.id)
    return db.session.scalars(query.where(RefreshToken.token_hash == _hash(secret))).all()


def _forget_expired(user_id: int, now: datetime) -> None:
    """Remove what is over of this account: a family has a row for each refresh."""
    over = select(TokenFamily.id).where(
        TokenFamily.user_id == user_id, TokenFamily.expires_at <= now
    )
    db.session.execute(delete(RefreshToken).where(RefreshToken.family_id.in_(over)))
    db.session.execute(delete(TokenFamily).where(TokenFamily.id.in_(over)))


def _note(
    action: str, family: TokenFamily, actor: audit.Actor, now: datetime, **facts: str
) -> None:
    audit.record(
        action,
        actor=actor,
        now=now,
        object_type="token_family",
        object_id=family.id,
        changes={"user_id": family.user_id, **facts},
    )


def _is_live(now: datetime) -> ColumnElement[bool]:
    active = select(User.id).where(User.deactivated_at.is_(None))
    return and_(
        TokenFamily.revoked_at.is_(None),
        TokenFamily.expires_at > now,
        TokenFamily.user_id.in_(active),
    )


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
