"""Trying passwords and codes: counted before they are looked at, and taken back when right.

Each try runs in a transaction of its own, after the one that counts it.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from billtrack import access
from billtrack.accounts import throttle
from billtrack.accounts.models import User
from billtrack.accounts.second_factor import WrongCode, note_wrong_code
from billtrack.accounts.signing_in import CodeDue
from billtrack.db import transaction
from billtrack.http import client_address

T = TypeVar("T")


def attempt_sign_in(email: str, try_password: Callable[[datetime], T]) -> T:
    """Return what trying a password for this address returns, if it may be tried at all.

    `try_password` is called in a transaction of its own. Raises TooManyTries, and what it
    raises: that is counted whatever it was. So is half a sign-in, until its code was right:
    else who knows the password could try codes without end.
    """
    now, address = datetime.now(UTC), client_address()
    with transaction():
        refusal = throttle.count_try(email=email, address=address, actor=access.actor(), now=now)
    if refusal is not None:
        raise refusal
    with transaction():
        result = try_password(now)
        if not isinstance(result, CodeDue):
            throttle.forgive(email=email, address=address)
    return result


def attempt_code(user: User, try_code: Callable[[datetime], T], *, tries: int = 1) -> T:
    """Return what trying a code of this account's second factor returns, if it may be tried.

    A right one takes back so many `tries`: two when its password was counted by itself.
    `try_code` is called in a transaction of its own. Raises TooManyTries, and what it raises:
    that is counted, and a wrong code is noted in the audit log.
    """
    now, address = datetime.now(UTC), client_address()
    who, user_id, email = access.actor(), user.id, user.email
    with transaction():
        refusal = throttle.count_code(email=email, address=address, actor=who, now=now)
    if refusal is not None:
        raise refusal
    try:
        with transaction():
            result = try_code(now)
            throttle.forgive_code(email=email, address=address, tries=tries)
    except WrongCode:
        with transaction():
            note_wrong_code(user_id, actor=who, now=now)
        raise
    return result
