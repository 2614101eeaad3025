"""Sign-in throttled: how often a password, or a code after it, may be tried before a pause.

Tries are counted in the database, before the password is looked at, so that all processes
count together and a hundred tries at once get no further than one after the other. What is
counted is what was typed: an address without an account is treated like one with.

Nobody can lock an account for long from one place: the narrow limit is for one account from
one address. Only tries from very many addresses reach the limit of the account as a whole,
and every limit ends with its window, however many tries come meanwhile.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import blake2b

from sqlalchemy import case, delete, update

from billtrack.accounts.users.models import SignInTry
from billtrack.core.addresses import network_of
from billtrack.core.errors import TooManyRequestsError
from billtrack.platform import audit
from billtrack.platform.extensions import db
from billtrack.platform.upsert import upsert

WINDOW = timedelta(minutes=15)
MOST_HERE = 5
"""Tries at one account from one address in a window."""
MOST_FROM_ADDRESS = 50
MOST_AT_ACCOUNT = 100
MOST_CODES = 10
"""Codes at one account from everywhere: only who knows its password comes to try one."""
KEPT = timedelta(hours=1)


class NewPassword(StrEnum):
    """The ways to set a password; each account has a budget for each."""

    CHANGE = "change"
    LINK = "link"
    NEW_ACCOUNT = "new_account"


MOST_PASSWORDS = {NewPassword.CHANGE: 10, NewPassword.LINK: 10, NewPassword.NEW_ACCOUNT: 100}
"""New passwords in a window, taken or not: judging and hashing one costs much work."""


class TooManyTries(TooManyRequestsError):
    """A password was tried too often; trying again helps only after the pause."""

    code = "too_many_tries"


def count_try(
    *, email: str, address: str | None, actor: audit.Actor, now: datetime
) -> TooManyTries | None:
    """Count a try; return what refuses it, to be raised once that is stored.

    The first refusal in a window is an entry of the audit log, with the address that was typed.
    """
    email = email.strip().lower()
    return _count(_by_width(email, address), email=email, actor=actor, now=now)


def count_code(
    *, email: str, address: str | None, actor: audit.Actor, now: datetime
) -> TooManyTries | None:
    """Count a code after the right password, as a try like any other and among codes.

    Return what refuses it, as `count_try` does.
    """
    email = email.strip().lower()
    subjects = [*_by_width(email, address), _codes_of(email)]
    return _count(subjects, email=email, actor=actor, now=now)


def count_password(way: NewPassword, *, account_id: int, now: datetime) -> TooManyTries | None:
    """Count a new password before it is judged; return what refuses it.

    `account_id` is the account whose password is set; of a new account, who opens it.
    """
    tries, ends_at = _add_one(_digest("password", way, str(account_id)), now)
    return _refuse(ends_at - now) if tries > MOST_PASSWORDS[way] else None


def forgive(*, email: str, address: str | None) -> None:
    """Take back the try that was right; from here at this account all of them."""
    _forgive(_by_width(email.strip().lower(), address), tries=1)


def forgive_code(*, email: str, address: str | None, tries: int) -> None:
    """Take back the code that was right: `tries` with the password that came before it."""
    email = email.strip().lower()
    _forgive([*_by_width(email, address), _codes_of(email)], tries=tries)


def forget(*, emails: Collection[str], addresses: Collection[str | None]) -> None:
    """Remove what was counted for these e-mail addresses, from these places."""
    subjects = {
        digest for email in emails for digest in (_digest("account", email), _codes_of(email)[0])
    }
    networks = {network_of(address) for address in addresses}
    subjects |= {_digest("here", email, network) for email in emails for network in networks}
    db.session.execute(delete(SignInTry).where(SignInTry.subject.in_(subjects)))


def forget_old_tries(now: datetime) -> None:
    """Remove what was counted in windows that ended an hour ago."""
    db.session.execute(delete(SignInTry).where(SignInTry.ends_at < now - KEPT))


def _count(
    subjects: Sequence[tuple[bytes, int]], *, email: str, actor: audit.Actor, now: datetime
) -> TooManyTries | None:
    refusal: TooManyTries | None = None
    # In one order, so that two tries never wait for each other in a circle.
    for subject, most in sorted(subjects):
        tries, ends_at = _add_one(subject, now)
        if tries <= most:
            continue
        refusal = refusal or _refuse(ends_at - now)
        if tries == most + 1:
            audit.record(
                "sign_in.throttled",
                actor=actor,
                now=now,
                object_type="sign_in",
                personal={"email": email},
            )
    return refusal


def _by_width(email: str, address: str | None) -> Sequence[tuple[bytes, int]]:
    network = network_of(address)
    return [
        (_digest("here", email, network), MOST_HERE),
        (_digest("address", network), MOST_FROM_ADDRESS),
        (_digest("account", email), MOST_AT_ACCOUNT),
    ]


def _codes_of(email: str) -> tuple[bytes, int]:
    return _digest("codes", email), MOST_CODES


def _forgive(subjects: Sequence[tuple[bytes, int]], *, tries: int) -> None:
    here, _ = subjects[0]
    left = case((SignInTry.tries > tries, SignInTry.tries - tries), else_=0)
    for subject, _ in sorted(subjects):  # in the order in which they are counted
        mine = SignInTry.subject == subject
        if subject == here:
            db.session.execute(delete(SignInTry).where(mine))
        else:
            db.session.execute(update(SignInTry).where(mine).values(tries=left))


def _digest(*parts: str) -> bytes:
    # Neither addresses nor what was typed lie in the table.
    return blake2b("\0".join(parts).encode(), digest_size=16, person=b"billtrack.tries").digest()


def _add_one(subject: bytes, now: datetime) -> tuple[int, datetime]:
    is_over = SignInTry.ends_at <= now
    row = upsert(
        SignInTry,
        [{"subject": subject, "tries": 1, "ends_at": now + WINDOW}],
        key=["subject"],
        changes=lambda excluded: {
            "tries": case((is_over, 1), else_=SignInTry.tries + 1),
            "ends_at": case((is_over, excluded.ends_at), else_=SignInTry.ends_at),
        },
        returning=[SignInTry.tries, SignInTry.ends_at],
    ).one()
    return row.tries, row.ends_at


def _refuse(pause: timedelta) -> TooManyTries:
    seconds = max(1, round(pause.total_seconds()))
    minutes = -(-seconds // 60)
    return TooManyTries(
        f"Too many tries. Try again in {minutes} minute{'s' if minutes > 1 else ''}.",
        retry_after=seconds,
    )
