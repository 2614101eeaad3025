"""One-time links: sent to the address of an account, they let whoever reads it choose a password.

Opening one changes nothing, for programs open links, too; sending the form that it shows uses
it up. Another link of the same purpose, another password or another address end those before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, func, select, update

from billtrack.accounts.users.models import OneTimeLink, User
from billtrack.core.errors import ConflictError, NotFoundError
from billtrack.notifications import mail
from billtrack.notifications.mail.models import Letter
from billtrack.notifications.mail.operations import Recipient
from billtrack.notifications.mail.secrets import hash_secret, new_seed, secret_of
from billtrack.platform import audit
from billtrack.platform.db import row_count
from billtrack.platform.extensions import db


class Purpose(StrEnum):
    """What a link is for; also the letter that it comes in."""

    INVITATION = "invitation"
    PASSWORD_RESET = "password_reset"  # noqa: S105 (no password)


LIFETIME = {Purpose.INVITATION: timedelta(days=7), Purpose.PASSWORD_RESET: timedelta(hours=1)}
IN_WORDS = {Purpose.INVITATION: "7 days", Purpose.PASSWORD_RESET: "1 hour"}
MOST_AN_HOUR = 5
"""Links that one account is sent within an hour, whoever asks for them."""


class LinkRefused(NotFoundError):
    """The link is unknown, used, expired or ended; nobody is told which."""

    code = "link_refused"


class TooManyLinks(ConflictError):
    """The account was sent enough of them for now."""

    code = "too_many_links"


@dataclass(frozen=True, slots=True)
class Invitation:
    """The newest invitation of an account: until when it works, and what became of its letter."""

    expires_at: datetime
    is_sent: bool
    has_failed: bool


def send_link(
    user: User, *, purpose: Purpose, actor: audit.Actor, now: datetime, inviter: str = ""
) -> OneTimeLink:
    """Queue a letter with a link for the account; earlier ones of this purpose end.

    `inviter` is the name of whoever asks, as the letter says it. Raises TooManyLinks.
    """
    if count_links(user.id, since=now - timedelta(hours=1)) >= MOST_AN_HOUR:
        raise TooManyLinks("This account was sent enough links for now. Try again in an hour.")
    end_links(user.id, now=now, purpose=purpose)
    seed, expires_at = new_seed(), now + LIFETIME[purpose]
    letter = mail.queue(
        purpose,
        actor=actor,
        now=now,
        to=Recipient(user.id, user.email, user.name),
        context={"inviter": inviter, "lifetime": IN_WORDS[purpose]},
        seed=seed,
        expires_at=expires_at,
    )
    link = OneTimeLink(
        purpose=purpose,
        user_id=user.id,
        letter_id=letter.id,
        secret_hash=hash_secret(secret_of(seed)),
        created_at=now,
        expires_at=expires_at,
    )
    db.session.add(link)
    db.session.flush()
    audit.record(
        f"user.{purpose}_sent", actor=actor, now=now, object_type="user", object_id=user.id
    )
    return link


def find_link_owner(secret: str, *, now: datetime) -> User | None:
    """Return the active account whose link this is, if it would open; changes nothing."""
    query = select(User).join(OneTimeLink, OneTimeLink.user_id == User.id)
    return db.session.scalar(query.where(_opens(secret, now), User.deactivated_at.is_(None)))


def use_link(secret: str, *, now: datetime) -> User:
    """Use the link up and return its account. Raises LinkRefused.

    Of two that use it at once only one gets through.
    """
    owner = find_link_owner(secret, now=now)
    used = db.session.execute(update(OneTimeLink).where(_opens(secret, now)).values(used_at=now))
    if owner is None or not row_count(used):
        raise LinkRefused("This link does not work any more. Ask for another one.")
    return owner


def end_links(user_id: int, *, now: datetime, purpose: Purpose | None = None) -> None:
    """Make the links of the account worthless that are not used yet; of one purpose, or all."""
    unused = [
        OneTimeLink.user_id == user_id,
        OneTimeLink.used_at.is_(None),
        OneTimeLink.ended_at.is_(None),
    ]
    if purpose is not None:
        unused.append(OneTimeLink.purpose == purpose)
    db.session.execute(update(OneTimeLink).where(*unused).values(ended_at=now))


def count_links(user_id: int, *, since: datetime) -> int:
    """Return how many links the account was sent since this instant."""
    query = select(func.count()).select_from(OneTimeLink)
    mine = query.where(OneTimeLink.user_id == user_id, OneTimeLink.created_at > since)
    return db.session.scalar(mine) or 0


def newest_invitations(user_ids: Sequence[int]) -> dict[int, Invitation]:
    """Return the newest invitation of those of these accounts that ever got one."""
    query = (
        select(OneTimeLink.user_id, OneTimeLink.expires_at, Letter.sent_at, Letter.failed_at)
        .join(Letter, Letter.id == OneTimeLink.letter_id)
        .where(OneTimeLink.user_id.in_(user_ids), OneTimeLink.purpose == Purpose.INVITATION)
        .order_by(OneTimeLink.id)
    )
    return {
        user_id: Invitation(expires_at, sent_at is not None, failed_at is not None)
        for user_id, expires_at, sent_at, failed_at in db.session.execute(query)
    }


def _opens(secret: str, now: datetime) -> ColumnElement[bool]:
    return and_(
        OneTimeLink.secret_hash == hash_secret(secret),
        OneTimeLink.expires_at > now,
        OneTimeLink.used_at.is_(None),
        OneTimeLink.ended_at.is_(None),
    )
