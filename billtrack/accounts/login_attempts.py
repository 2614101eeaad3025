"""Trying passwords and codes: counted before they are looked at, and taken back when right.

Each try runs in a transaction of its own, after the one that counts it. Passwords are verified
between the two.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from billtrack.accounts import access
from billtrack.accounts.sign_in import throttle
from billtrack.accounts.sign_in.authentication import verify_sign_in
from billtrack.accounts.sign_in.password_changes import VerifiedPassword, verify_current_password
from billtrack.accounts.sign_in.second_factor import WrongCode, note_wrong_code
from billtrack.accounts.sign_in.sign_in import CodeDue
from billtrack.accounts.users.models import User
from billtrack.platform.db import transaction
from billtrack.platform.http import client_address

T = TypeVar("T")


def attempt_sign_in(
    email: str, password: str, sign_in: Callable[[VerifiedPassword, datetime], T]
) -> T:
    """Return what signing in with this password returns, if it may be tried at all.

    `sign_in` is called in a transaction of its own. Raises TooManyTries, SignInRefused, and
    what `sign_in` raises: that is counted whatever it was. So is half a sign-in, until its code
    was right: else who knows the password could try codes without end.
    """
    now = datetime.now(UTC)
    _count_try(email, now)
    verified = verify_sign_in(email=email, password=password)
    with transaction():
        result = sign_in(verified, now)
        if not isinstance(result, CodeDue):
            throttle.forgive(email=email, address=client_address())
    return result


def attempt_password(user: User, password: str) -> VerifiedPassword:
    """Return the proof that this is the password of the account that is signed in.

    A wrong one counts as a wrong sign-in does. Raises TooManyTries and WrongPassword.
    """
    user_id, email = user.id, user.email
    _count_try(email, datetime.now(UTC))
    verified = verify_current_password(user_id, password)
    with transaction():
        throttle.forgive(email=email, address=client_address())
    return verified


def count_password(way: throttle.NewPassword, *, account_id: int) -> None:
    """Count a new password, before any work is done for it. Raises TooManyTries."""
    with transaction():
        refusal = throttle.count_password(way, account_id=account_id, now=datetime.now(UTC))
    if refusal is not None:
        raise refusal


def attempt_password_and_code(
    user: User, password: str, try_code: Callable[[VerifiedPassword, datetime], T]
) -> T:
    """Return what trying a code returns, after the password of the account; one try in all.

    Raises WrongPassword, and what attempt_code raises.
    """
    user_id, email = user.id, user.email
    now = _count_code(email)
    verified = verify_current_password(user_id, password)
    return _try_code(user_id, email, now, partial(try_code, verified), tries=1)


def attempt_code(user: User, try_code: Callable[[datetime], T], *, tries: int = 1) -> T:
    """Return what trying a code of this account's second factor returns, if it may be tried.

    A right one takes back so many `tries`: two when its password was counted by itself.
    `try_code` is called in a transaction of its own. Raises TooManyTries, and what it raises:
    that is counted, and a wrong code is noted in the audit log.
    """
    user_id, email = user.id, user.email
    return _try_code(user_id, email, _count_code(email), try_code, tries=tries)


def _count_try(email: str, now: datetime) -> None:
    address, who = client_address(), access.actor()
    with transaction():
        refusal = throttle.count_try(email=email, address=address, actor=who, now=now)
    if refusal is not None:
        raise refusal


def _count_code(email: str) -> datetime:
    now, address, who = datetime.now(UTC), client_address(), access.actor()
    with transaction():
        refusal = throttle.count_code(email=email, address=address, actor=who, now=now)
    if refusal is not None:
        raise refusal
    return now


def _try_code(
    user_id: int, email: str, now: datetime, try_code: Callable[[datetime], T], *, tries: int
) -> T:
    try:
        with transaction():
            result = try_code(now)
            throttle.forgive_code(email=email, address=client_address(), tries=tries)
    except WrongCode:
        with transaction():
            note_wrong_code(user_id, actor=access.actor(), now=now)
        raise
    return result
