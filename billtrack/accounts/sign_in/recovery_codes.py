"""Recovery codes: ten that stand in for the second factor, each once, for a lost telephone.

They are random, so a fast hash of them may be stored; they do not depend on the secret key.
The caller owns the transaction.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, func, select, update

from billtrack.accounts.users.models import RecoveryCode
from billtrack.platform.db import row_count
from billtrack.platform.extensions import db

HOW_MANY = 10
FEW = 3
"""From so many left on people are told to make new ones."""

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without those that look alike."""

_GROUPS, _GROUP = 4, 4


def make_recovery_codes(user_id: int, *, now: datetime) -> Sequence[str]:
    """Return ten new codes; those before are worthless. They cannot be looked up again."""
    forget_recovery_codes(user_id)
    codes = [_new_code() for _ in range(HOW_MANY)]
    db.session.add_all(
        RecoveryCode(user_id=user_id, code_hash=_hash(code), created_at=now) for code in codes
    )
    return codes


def use_recovery_code(user_id: int, code: str, *, now: datetime) -> bool:
    """Use the code up and tell whether it was one; of two that use it at once one gets through."""
    mine = (RecoveryCode.user_id == user_id, RecoveryCode.code_hash == _hash(code))
    unused = update(RecoveryCode).where(*mine, RecoveryCode.used_at.is_(None))
    return row_count(db.session.execute(unused.values(used_at=now))) == 1


def count_recovery_codes(user_id: int) -> int:
    """Return how many codes of the account are left."""
    query = select(func.count()).select_from(RecoveryCode)
    left = query.where(RecoveryCode.user_id == user_id, RecoveryCode.used_at.is_(None))
    return db.session.scalar(left) or 0


def forget_recovery_codes(user_id: int) -> None:
    """Remove all codes of the account."""
    db.session.execute(delete(RecoveryCode).where(RecoveryCode.user_id == user_id))


def _new_code() -> str:
    letters = [secrets.choice(_LETTERS) for _ in range(_GROUPS * _GROUP)]
    groups = ["".join(letters[i : i + _GROUP]) for i in range(0, len(letters), _GROUP)]
    return "-".join(groups)


def _hash(code: str) -> str:
    """Return what is stored of a code, however it is spaced and cased."""
    plain = re.sub(r"[^a-z0-9]", "", code.lower())
    return hashlib.sha256(plain.encode()).hexdigest()
