"""The second factor of an account: proposed, confirmed by a code, asked for, switched off.

Each account has one at most. What is proposed guards nothing until a code has shown that the
owner's telephone has it. The caller owns the transaction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum

import structlog
from sqlalchemy import delete, select, update

from billtrack.accounts.sign_in.password_changes import VerifiedPassword, lock_verified
from billtrack.accounts.sign_in.pending_sign_ins import end_pending_sign_ins
from billtrack.accounts.sign_in.recovery_codes import (
    count_recovery_codes,
    forget_recovery_codes,
    make_recovery_codes,
    use_recovery_code,
)
from billtrack.accounts.sign_in.second_factor_mail import Event, tell_owner
from billtrack.accounts.sign_in.second_factor_secrets import find_step, new_secret, seal, unseal
from billtrack.accounts.sign_in.sessions import renew_secret, revoke_other_sessions
from billtrack.accounts.users.authority import lock_user, require_sign_in_change
from billtrack.accounts.users.models import SecondFactor, User
from billtrack.accounts.users.permissions import Breadth, Reach
from billtrack.core.errors import ConflictError, ForbiddenError, InvalidError
from billtrack.platform import audit
from billtrack.platform.db import row_count
from billtrack.platform.extensions import db

PROPOSAL_LIFETIME = timedelta(minutes=15)
_DIGITS = re.compile(r"[0-9]{6}", re.ASCII)

log = structlog.get_logger(__name__)


class Proof(StrEnum):
    """What stood beside the password; the names stand in the audit log."""

    CODE = "code"
    RECOVERY_CODE = "recovery_code"


class WrongCode(InvalidError):
    """The code is wrong, too old, or was used before; nobody is told which."""

    code = "wrong_code"


class SecondFactorIsOn(ConflictError):
    """The account has a second factor; another one comes after switching it off."""

    code = "second_factor_is_on"


class NoSecondFactor(ConflictError):
    """The account has no second factor, or the proposal of one is over."""

    code = "no_second_factor"


def find_second_factor(user_id: int) -> SecondFactor | None:
    """Return the factor that guards the account, if it has one."""
    query = select(SecondFactor).where(SecondFactor.user_id == user_id)
    return db.session.scalar(query.where(SecondFactor.confirmed_at.is_not(None)))


def find_proposed_secret(user_id: int, *, now: datetime) -> bytes | None:
    """Return the secret that waits for its first code, for a quarter of an hour."""
    proposed = _find_proposal(user_id, now)
    return unseal(proposed.sealed_secret, user_id=user_id) if proposed is not None else None


def propose(verified: VerifiedPassword, *, now: datetime) -> None:
    """Make a secret for the account, in place of one that was proposed before.

    Raises WrongPassword and SecondFactorIsOn.
    """
    user = lock_verified(verified)
    if find_second_factor(user.id) is not None:
        raise SecondFactorIsOn("Your second factor is on. Switch it off to set up another one.")
    db.session.execute(delete(SecondFactor).where(SecondFactor.user_id == user.id))
    db.session.add(
        SecondFactor(
            user_id=user.id,
            sealed_secret=seal(new_secret(), user_id=user.id),
            created_at=now,
            last_step=0,
        )
    )


def withdraw(user_id: int) -> None:
    """Forget what was proposed; a factor that is on stays on."""
    proposed = (SecondFactor.user_id == user_id, SecondFactor.confirmed_at.is_(None))
    db.session.execute(delete(SecondFactor).where(*proposed))


def confirm(
    user_id: int, *, code: str, session_id: int | None, actor: audit.Actor, now: datetime
) -> tuple[Sequence[str], str]:
    """Switch the proposed factor on; return recovery codes and a new secret id of this session.

    Every other sign-in ends: it was made with the password alone. Raises NoSecondFactor when
    nothing is proposed any more, and WrongCode.
    """
    user = db.session.get_one(User, user_id, with_for_update=True)
    proposed = _find_proposal(user.id, now)
    if proposed is None:
        raise NoSecondFactor("That took too long. Begin once more.")
    if not _use_step(proposed, code, now):
        raise WrongCode.at("code", "This is not the code of the moment. Look for the next one.")
    on = update(SecondFactor).where(SecondFactor.user_id == user.id)
    db.session.execute(on.values(confirmed_at=now))
    _note(Event.ON, user, actor, now)
    revoke_other_sessions(user.id, keep=session_id, actor=actor, now=now)
    return make_recovery_codes(user.id, now=now), renew_secret(session_id)


def use_code(user: User, code: str, *, actor: audit.Actor, now: datetime) -> Proof:
    """Use up a code of the account's factor, or one of its recovery codes; raises WrongCode."""
    factor = find_second_factor(user.id)
    typed = re.sub(r"[\s-]", "", code)
    if factor is not None and _DIGITS.fullmatch(typed):
        if _use_step(factor, typed, now):
            return Proof.CODE
    elif factor is not None and use_recovery_code(user.id, typed, now=now):
        _note(Event.RECOVERY_CODE_USED, user, actor, now, left=count_recovery_codes(user.id))
        return Proof.RECOVERY_CODE
    raise WrongCode.at("code", "This code is wrong or was used before. Take the next one.")


def renew_recovery_codes(
    verified: VerifiedPassword, *, code: str, actor: audit.Actor, now: datetime
) -> Sequence[str]:
    """Return ten new recovery codes in place of those before.

    Raises WrongPassword, NoSecondFactor and WrongCode.
    """
    user = _proven(verified, code, actor, now)
    _note(Event.NEW_RECOVERY_CODES, user, actor, now)
    return make_recovery_codes(user.id, now=now)


def switch_off(verified: VerifiedPassword, *, code: str, actor: audit.Actor, now: datetime) -> None:
    """Let the password alone open the account again.

    Raises WrongPassword, NoSecondFactor and WrongCode.
    """
    user = _proven(verified, code, actor, now)
    forget_second_factor(user.id)
    _note(Event.OFF, user, actor, now)


def reset(user_id: int, *, actor: audit.Actor, reach: Reach, now: datetime) -> None:
    """Take the factor away from somebody who has lost it; a letter tells them.

    Raises UserNotFound, NoSecondFactor, and ForbiddenError for whoever is no administrator and
    for one's own: that takes password and code.
    """
    if reach.breadth is not Breadth.ALL or user_id == actor.user_id:
        raise ForbiddenError("Another administrator has to reset this second factor.")
    user = lock_user(user_id, reach=reach, rule=require_sign_in_change)
    if find_second_factor(user.id) is None:
        raise NoSecondFactor("This account has no second factor.")
    forget_second_factor(user.id)
    _note(Event.RESET, user, actor, now)


def note_wrong_code(user_id: int, *, actor: audit.Actor, now: datetime) -> None:
    """Add to the audit log that somebody knew the password, and not the code."""
    audit.record(
        "second_factor.wrong_code", actor=actor, now=now, object_type="user", object_id=user_id
    )


def forget_second_factor(user_id: int) -> None:
    """Remove the factor, proposed or on, with its recovery codes and half sign-ins."""
    db.session.execute(delete(SecondFactor).where(SecondFactor.user_id == user_id))
    forget_recovery_codes(user_id)
    end_pending_sign_ins(user_id)


def _find_proposal(user_id: int, now: datetime) -> SecondFactor | None:
    query = select(SecondFactor).where(
        SecondFactor.user_id == user_id,
        SecondFactor.confirmed_at.is_(None),
        SecondFactor.created_at > now - PROPOSAL_LIFETIME,
    )
    return db.session.scalar(query)


def _proven(verified: VerifiedPassword, code: str, actor: audit.Actor, now: datetime) -> User:
    user = lock_verified(verified)
    if find_second_factor(user.id) is None:
        raise NoSecondFactor("Your second factor is off already.")
    use_code(user, code, actor=actor, now=now)
    return user


def _use_step(factor: SecondFactor, code: str, now: datetime) -> bool:
    """Use the code up and tell whether it was good; of two that use it at once one gets through."""
    secret = unseal(factor.sealed_secret, user_id=factor.user_id)
    if secret is None:
        log.warning("second_factor_unreadable", account=factor.user_id)
        raise WrongCode.at(
            "code",
            "Codes cannot be checked since the secret key of this installation was changed. "
            "Use a recovery code, or ask an administrator to reset your second factor.",
        )
    step = find_step(secret, code, now=now, after=factor.last_step)
    if step is None:
        return False
    # Encrypted anew with the key in force: so keys of before can go.
    used = update(SecondFactor).where(
        SecondFactor.user_id == factor.user_id,
        SecondFactor.sealed_secret == factor.sealed_secret,
        SecondFactor.last_step < step,
    )
    values = {"last_step": step, "sealed_secret": seal(secret, user_id=factor.user_id)}
    return row_count(db.session.execute(used.values(**values))) == 1


def _note(event: Event, user: User, actor: audit.Actor, now: datetime, **changes: int) -> None:
    audit.record(
        f"second_factor.{event}",
        actor=actor,
        now=now,
        object_type="user",
        object_id=user.id,
        changes=changes,
    )
    tell_owner(user, event, actor=actor, now=now)
