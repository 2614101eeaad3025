"""Signing in, for browsers and programs alike: the password, then the code where one is due.

The caller owns the transaction, and counts the tries: see `billtrack.accounts.login_attempts`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from billtrack.accounts.sign_in.authentication import authenticate
from billtrack.accounts.sign_in.password_changes import VerifiedPassword
from billtrack.accounts.sign_in.pending_sign_ins import begin_sign_in, take_pending_user
from billtrack.accounts.sign_in.second_factor import Proof, find_second_factor, use_code
from billtrack.accounts.users.models import User
from billtrack.platform import audit


@dataclass(frozen=True, slots=True)
class CodeDue:
    """The password was right and is not enough; `token` is the secret id of the half sign-in."""

    user: User
    token: str


def prove_password(verified: VerifiedPassword, *, now: datetime) -> User | CodeDue:
    """Return the account if the password opens it, or else what a code has to come with.

    Raises SignInRefused.
    """
    user = authenticate(verified)
    if find_second_factor(user.id) is None:
        return user
    return CodeDue(user, begin_sign_in(user.id, now=now))


def prove_code(token: str, *, code: str, actor: audit.Actor, now: datetime) -> tuple[User, Proof]:
    """Return the account of the half sign-in if the code is right, and what kind it was.

    Raises SignInExpired and WrongCode.
    """
    user = take_pending_user(token, now=now)
    by_owner = audit.Actor(user_id=user.id, address=actor.address, request_id=actor.request_id)
    return user, use_code(user, code, actor=by_owner, now=now)
