"""Ways to a password without the present one: invitations and resets, by a one-time link.

The caller owns the transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial

from billtrack.accounts.sign_in.password_changes import set_password
from billtrack.accounts.users.authority import lock_user, require_sign_in_change
from billtrack.accounts.users.links import Purpose, TooManyLinks, send_link, use_link
from billtrack.accounts.users.models import OneTimeLink, User
from billtrack.accounts.users.passwords import HashedPassword
from billtrack.accounts.users.permissions import Reach
from billtrack.accounts.users.queries import find_user, find_user_by_email
from billtrack.core.errors import ConflictError, UnavailableError
from billtrack.platform import audit
from billtrack.platform.db import database_now
from billtrack.platform.extensions import db
from billtrack.platform.jobs.operations import enqueue, forget_payload
from billtrack.platform.jobs.queries import count_queued
from billtrack.platform.jobs.runner import Run

PASSWORD_REQUEST = "password_request"  # noqa: S105 (no password)
"""The kind of the job that looks who has forgotten a password."""


MOST_WAITING = 500
"""Requests that may wait for a worker: anybody can make them."""


class TooManyRequests(UnavailableError):
    """More people than can be have forgotten their passwords."""

    code = "too_many_requests"


class NotToBeInvited(ConflictError):
    """The account has a password, or is shut out."""

    code = "not_to_be_invited"


class NoPasswordToReset(ConflictError):
    """The account has no password yet, or is shut out."""

    code = "no_password_to_reset"


def invite(user_id: int, *, actor: audit.Actor, reach: Reach, now: datetime) -> OneTimeLink:
    """Send the account a link to choose its first password.

    Raises UserNotFound, ForbiddenError, NotToBeInvited and TooManyLinks.
    """
    user = lock_user(user_id, reach=reach, rule=require_sign_in_change)
    if not user.is_active:
        raise NotToBeInvited("The account is deactivated. Nobody is invited to it.")
    if user.password_hash is not None:
        raise NotToBeInvited("The account has a password. Send a link to choose another one.")
    asking = find_user(actor.user_id) if actor.user_id is not None else None
    inviter = asking.name if asking is not None else ""
    return send_link(user, purpose=Purpose.INVITATION, actor=actor, now=now, inviter=inviter)


def send_reset(user_id: int, *, actor: audit.Actor, reach: Reach, now: datetime) -> OneTimeLink:
    """Send the account a link to choose another password; the present one works until then.

    Raises UserNotFound, ForbiddenError, NoPasswordToReset and TooManyLinks.
    """
    user = lock_user(user_id, reach=reach, rule=require_sign_in_change)
    if not user.is_active:
        raise NoPasswordToReset("The account is deactivated. Its password opens nothing.")
    if user.password_hash is None:
        raise NoPasswordToReset("The account has no password yet. Invite it instead.")
    return send_link(user, purpose=Purpose.PASSWORD_RESET, actor=actor, now=now)


def request_reset(email: str, *, actor: audit.Actor, now: datetime) -> None:
    """Note that somebody has forgotten the password of this address.

    Whether there is such an account is found out by a job: the answer, and the time it takes,
    are the same for every address. Raises TooManyRequests while too many wait.
    """
    if count_queued(PASSWORD_REQUEST) >= MOST_WAITING:
        raise TooManyRequests("Too many ask for a password at the moment. Try again later.")
    payload = {"email": email.strip().lower()}
    enqueue(PASSWORD_REQUEST, actor=actor, now=now, payload=payload)


def answer_request(run: Run) -> Callable[[], None]:
    """Return what sends the link, if the address is that of an active account with a password."""
    return partial(_answer, run.job_id, run.payload.get("email", ""))


def choose_password(
    secret: str, *, password: HashedPassword, actor: audit.Actor, now: datetime
) -> User:
    """Set the password of the account whose link this is, once; all its browsers are signed out.

    Raises LinkRefused.
    """
    user = use_link(secret, now=now)
    by_owner = audit.Actor(user_id=user.id, address=actor.address, request_id=actor.request_id)
    set_password(user.id, password=password, keep_session_id=None, actor=by_owner, now=now)
    return user


def _answer(job_id: int, email: str) -> None:
    forget_payload(job_id)
    user = find_user_by_email(email)
    if user is None:
        return
    # A change of address that commits meanwhile could not end this link: it is not stored yet.
    db.session.refresh(user, with_for_update=True)
    if not user.is_active or user.password_hash is None:
        return
    try:
        now = database_now()
        send_link(user, purpose=Purpose.PASSWORD_RESET, actor=audit.Actor(), now=now)
    except TooManyLinks:
        return  # whoever asks again and again fills nobody's mailbox, and is not told either
