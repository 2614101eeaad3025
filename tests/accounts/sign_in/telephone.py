"""The authenticator app of a test: it holds a secret and shows codes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pyotp

from billtrack.accounts.sign_in.second_factor_secrets import as_text, new_secret, seal, step_at
from billtrack.accounts.users.models import SecondFactor, User
from billtrack.platform.db import transaction


@dataclass(frozen=True)
class Telephone:
    """Computes codes from the text of a secret by itself, as any app does."""

    text: str

    def code(self, *, later: int = 0, now: datetime | None = None) -> str:
        """Return the code of this moment, or of so many time steps later."""
        step = step_at(now or datetime.now(UTC)) + later
        return pyotp.HOTP(self.text).at(step)


def switch_on(user: User) -> Telephone:
    """Give the account a second factor that has shown no code yet."""
    secret, now = new_secret(), datetime.now(UTC)
    with transaction() as session:
        session.merge(
            SecondFactor(
                user_id=user.id,
                sealed_secret=seal(secret, user_id=user.id),
                created_at=now,
                confirmed_at=now,
                last_step=0,
            )
        )
    return Telephone(as_text(secret))
